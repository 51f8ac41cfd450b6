// Rows of what happens to gradients between backward and the optimizer: averaging over ranks, and clipping.
#include "launcher/schema.h"

namespace llama_zero::schema_tables {

using enum ValueType;
using enum KeyStatus;

std::span<const SchemaKey> gradient_keys() {
  static constexpr SchemaKey kKeys[] = {
      {"gradient_clipping", kNumber, "1.0", "", kHonoured, "largest L2 norm of the averaged gradients; 0 or less: off",
       "", "1.0"},
      {"gradient_allreduce_op", kString, R"("mean")", "mean|sum", kRejected, "mean or sum over ranks",
       "\"sum\" is not supported yet; use \"mean\""},
      {"prescale_gradients", kBool, "false", "", kRejected, "divide by the rank count before the sum, not after",
       "not supported yet: gradients are summed in fp32 and divided once"},
      {"gradient_predivide_factor", kNumber, "1.0", "> 0", kRejected, "divide by this before the sum",
       "not supported yet: gradients are summed in fp32 and divided once; use 1.0"},
      {"communication_data_type", kString, "null", "~fp16|bf16|fp32", kHonoured,
       "dtype of gradients between ranks; here always that of data_types.grad_accum_dtype, any other is an error", "",
       "", "", "", "", "communication_data_type must be the accumulation dtype"},
      {"seq_parallel_communication_data_type", kString, "\"fp32\"", "~fp16|bf16|fp32", kNoEffect,
       "the same between ranks of a sequence-parallel group, which there is none of"},
      {"sparse_gradients", kBool, "false", "", kNoEffect, "sparse embedding gradients; Llama's are dense"},
  };
  return kKeys;
}

}  // namespace llama_zero::schema_tables
