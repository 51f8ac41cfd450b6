// Rows of what happens to gradients between backward and the optimizer: averaging over ranks, and clipping.
#include "launcher/schema.h"

namespace llama_zero::schema_tables {

using enum ValueType;
using enum KeyStatus;

std::span<const SchemaKey> gradient_keys() {
  static constexpr SchemaKey kKeys[] = {
      tested("clipping bounds the update of a step",
             {"gradient_clipping", kNumber, "1.0", "", kHonoured,
              "largest L2 norm of the averaged gradients; 0 or less: off", "", "1.0"}),
      tested("a sum over ranks is the mean times the ranks",
             {"gradient_allreduce_op", kString, R"("mean")", "mean|sum", kHonoured,
              "mean or sum of the ranks' gradients; sum is an error in stage 3"}),
      tested("dividing before the sum rounds otherwise than dividing after it",
             {"prescale_gradients", kBool, "false", "", kHonoured,
              "each rank divides its gradient by the rank count before the sum; acts in stage 0, and in stages 1 to 3 "
              "without reduce_scatter; with it unused in stage 1, an error in 2 and 3"}),
      tested("dividing before the sum rounds otherwise than dividing after it",
             {"gradient_predivide_factor", kNumber, "1.0", "> 0", kHonoured,
              "each rank divides its gradient by this before the sum, which is then multiplied by this / ranks; acts "
              "where prescale_gradients would, unless that is on"}),
      tested("gradients travel in the communication dtype",
             {"communication_data_type", kString, "null", "~fp16|bf16|fp32", kHonoured,
              "dtype in which gradients travel between ranks, to be added in fp32; null: that of "
              "data_types.grad_accum_dtype"}),
      {"seq_parallel_communication_data_type", kString, "\"fp32\"", "~fp16|bf16|fp32", kNoEffect,
       "the same between ranks of a sequence-parallel group, which there is none of"},
      {"sparse_gradients", kBool, "false", "", kNoEffect, "sparse embedding gradients; Llama's are dense"},
  };
  return kKeys;
}

}  // namespace llama_zero::schema_tables
