// Rows of fp16, bf16, data_types, amp, torch_autocast.
#include "launcher/schema.h"

namespace llama_zero::schema_tables {

using enum ValueType;
using enum KeyStatus;

namespace {
constexpr std::string_view kDTypes = "~fp32|fp16|bf16|float32|float16|bfloat16|half|float";
constexpr std::string_view kScalerTest = "the keys of fp16 move the loss scale as DeepSpeed's scaler does";
constexpr std::string_view kDTypeTest = "the precision decides the dtype of weights";
constexpr std::string_view kMasters = "masters, moments and their gradients stay fp32 where it is set";
}  // namespace

std::span<const SchemaKey> precision_keys() {
  static constexpr SchemaKey kKeys[] = {
      tested(kDTypeTest,
             {"fp16.enabled", kBool, "false", "", kHonoured, "weights and activations in fp16, loss scaling", "",
              "--precision; fp16 where it is not given"}),
      {"fp16.auto_cast", kBool, "false", "", kNoEffect, "casts floating inputs to fp16; token ids are integers"},
      tested(kScalerTest, {"fp16.loss_scale", kNumber, "0", ">= 0", kHonoured, "0: dynamic; above 0: this one, fixed"}),
      tested(kScalerTest, {"fp16.initial_scale_power", kInt, "16", "0 .. 126", kHonoured,
                           "the dynamic scale starts at 2 to this power"}),
      tested(kScalerTest, {"fp16.loss_scale_window", kInt, "1000", "", kHonoured,
                           "clean steps between doublings of the scale; above 0"}),
      tested(kScalerTest,
             {"fp16.hysteresis", kInt, "2", "> 0", kHonoured,
              "overflows before the scale is halved; the last of them halves it, and so does every later one"}),
      tested(kScalerTest,
             {"fp16.consecutive_hysteresis", kBool, "false", "", kHonoured, "a clean step restores the hysteresis"}),
      tested(kScalerTest, {"fp16.min_loss_scale", kInt, "1", "> 0", kHonoured,
                           "the scale does not fall below; an overflow there ends the run, its weights saved"}),
      {"fp16.fp16_master_weights_and_grads", kBool, "false", "", kNoEffect,
       "master weights and gradients in fp16; needs a stage above 0 and offload_optimizer", kMasters},
      tested(kDTypeTest, {"bf16.enabled", kBool, "false", "", kHonoured, "weights and activations in bf16", "",
                          "--precision; off where it is not given"}),
      tested("check_grad_overflow decides whether a gradient that is not finite is applied",
             {"bf16.check_grad_overflow", kBool, "true", "", kHonoured,
              "skip a step whose gradients are not finite, at every stage (DeepSpeed leaves stage 3 out); 10 in a row "
              "end the run, its weights saved"}),
      {"bf16.immediate_grad_update", kBool, "false", "", kNoEffect, "when PyTorch's hooks add gradients"},
      {"bf16.bf16_master_weights_and_grads", kBool, "false", "", kNoEffect,
       "master weights and gradients in bf16; needs a stage above 0, and offload_optimizer or bf16_optimizer_states",
       kMasters},
      {"bf16.bf16_optimizer_states", kBool, "false", "", kNoEffect,
       "moments in bf16; needs bf16_master_weights_and_grads", kMasters},
      tested("gradients add up in grad_accum_dtype",
             {"data_types.grad_accum_dtype", kString, "null", kDTypes, kHonoured,
              "dtype in which gradients are added up, at every stage; null: the model's"}),
      tested("param_dtype must be the model's dtype", {"data_types.param_dtype", kString, "null", kDTypes, kHonoured,
                                                       "must be the dtype that fp16 or bf16 chose"}),
      {"data_types.buffer_dtype", kString, "null", kDTypes, kNoEffect,
       "dtype of module buffers; the RoPE table is fp32 here", "the RoPE table stays fp32"},
      {"amp.enabled", kBool, "false", "", kRejected, "NVIDIA Apex", "Apex is not supported; use fp16 or bf16"},
      {"amp.opt_level", kString, "null", "", kNoEffect, "Apex level"},
      {"torch_autocast.enabled", kBool, "false", "", kNoEffect, "PyTorch's autocast",
       "there is no autocast here: everything computes in the dtype that fp16 or bf16 chooses"},
      {"torch_autocast.dtype", kString, "null", "", kNoEffect, "autocast dtype"},
      {"torch_autocast.lower_precision_safe_modules", kList, "null", "", kNoEffect, "modules that autocast lowers"},
  };
  return kKeys;
}

}  // namespace llama_zero::schema_tables
