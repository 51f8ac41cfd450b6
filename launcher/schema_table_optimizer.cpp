// Rows of "optimizer". The updates stand in kernels/*_update.h.
#include "launcher/schema.h"

namespace llama_zero {

std::string_view optimizer_types() {
  return "Adam|AdamW|Adagrad|Lamb|Lion|Muon|OneBitAdam|OneBitLamb|ZeroOneAdam|MuAdam|MuAdamW|MuSGD|SGD";
}

std::string_view supported_optimizer_types() { return "AdamW|Adam|Lion|Adagrad|SGD"; }

}  // namespace llama_zero

namespace llama_zero::schema_tables {

using enum ValueType;
using enum KeyStatus;

namespace {
constexpr std::string_view kAdam = "Adam|AdamW";
constexpr std::string_view kUpdates = "each key of the optimizer changes the weights that a few updates give";
constexpr std::string_view kLrRule = "the preset's rate for random weights, 2e-5 for an imported model";
}  // namespace

std::span<const SchemaKey> optimizer_keys() {
  static constexpr SchemaKey kKeys[] = {
      tested("norms and embeddings decay unless they are exempted",
             {"llama_zero.no_decay_norms_and_embeddings", kBool, "false", "", kHonoured,
              "exempts norms and embeddings from weight decay"}),
      tested(kUpdates, {"optimizer.type", kString, R"("AdamW")", "", kHonoured,
                        "AdamW, Adam, Lion, Adagrad (in any case) or SGD; without an optimizer section AdamW, as "
                        "Hugging Face's Trainer"}),
      {"optimizer.legacy_fusion", kBool, "false", "", kNoEffect, "old fused kernel of stage 0 in fp16"},
      tested(kUpdates, {"optimizer.params.lr", kNumber, "0.001", ">= 0", kHonoured, "learning rate", "", kLrRule,
                        "Adam|AdamW|Lion|SGD"}),
      tested(kUpdates,
             {"optimizer.params.lr", kNumber, "0.01", ">= 0", kHonoured, "learning rate", "", kLrRule, "Adagrad"}),
      tested(
          kUpdates,
          {"optimizer.params.betas", kList, "[0.9,0.999]", "", kHonoured,
           "decay of the moments, each in [0, 1); Lion mixes gradient and moment with the first, updates it with the "
           "second",
           "", "[0.9, 0.999]", "Adam|AdamW|Lion"}),
      tested(kUpdates, {"optimizer.params.eps", kNumber, "1e-8", ">= 0", kHonoured,
                        "added to the root of the second moment", "", "1e-8", kAdam}),
      tested(kUpdates, {"optimizer.params.eps", kNumber, "1e-10", ">= 0", kHonoured,
                        "added to the root of the sum of squares", "", "1e-8", "Adagrad"}),
      tested(kUpdates, {"optimizer.params.weight_decay", kNumber, "0", ">= 0", kHonoured,
                        "weight decay, decoupled unless adam_w_mode is false; on every parameter unless "
                        "llama_zero.no_decay_norms_and_embeddings",
                        "", "0", kAdam}),
      tested(kUpdates, {"optimizer.params.weight_decay", kNumber, "0", ">= 0", kHonoured, "decoupled weight decay", "",
                        "0", "Lion"}),
      tested(kUpdates, {"optimizer.params.weight_decay", kNumber, "0", ">= 0", kHonoured,
                        "weight decay, added to the gradient", "", "0", "Adagrad|SGD"}),
      tested(kUpdates, {"optimizer.params.bias_correction", kBool, "true", "", kHonoured,
                        "divide the moments by 1 - beta^step", "", "", kAdam}),
      tested(kUpdates, {"optimizer.params.adam_w_mode", kBool, "true", "", kHonoured,
                        "true decouples weight decay even though the type is Adam; false adds it to the gradient", "",
                        "", "Adam"}),
      {"optimizer.params.adam_w_mode", kBool, "true", "", kNoEffect, "AdamW always decouples weight decay",
       "AdamW always decouples weight decay, in DeepSpeed too; use type Adam for decay in the gradient", "", "AdamW"},
      {"optimizer.params.amsgrad", kBool, "false", "", kRejected, "AMSGrad variant",
       "DeepSpeed's Adam has no AMSGrad; set false", "", kAdam},
      {"optimizer.params.set_grad_none", kBool, "true", "", kNoEffect, "frees gradients in PyTorch", "", "", kAdam},
      {"optimizer.params.fp32_optimizer_states", kBool, "true", "", kNoEffect, "moments in fp32",
       "moments have the masters' dtype, which is fp32 with ZeRO in DeepSpeed too", "", kAdam},
      tested(
          kUpdates,
          {"optimizer.params.torch_adam", kBool, "false", "", kHonoured,
           "takes torch's implementation in DeepSpeed; here it only makes the default weight_decay torch's 0.01 where "
           "decay is decoupled",
           "", "", kAdam}),
      {"optimizer.params.max_grad_norm", kNumber, "null", "", kRejected, "old place of gradient clipping",
       "use the top-level key gradient_clipping", "", "Adam|AdamW|Lamb|Lion|Adagrad|Muon|SGD"},
      tested(kUpdates, {"optimizer.params.lr_decay", kNumber, "0", ">= 0", kHonoured,
                        "update s runs with lr / (1 + (s - 1) * lr_decay), beside any schedule", "", "", "Adagrad"}),
      tested(kUpdates, {"optimizer.params.initial_accumulator_value", kNumber, "0", ">= 0", kHonoured,
                        "where the sum of squares starts", "", "", "Adagrad"}),
      tested(kUpdates, {"optimizer.params.momentum", kNumber, "0", ">= 0", kHonoured, "momentum; 0: no buffer is kept",
                        "", "", "SGD"}),
      tested(kUpdates, {"optimizer.params.dampening", kNumber, "0", "", kHonoured,
                        "the momentum takes 1 - dampening of the gradient", "", "", "SGD"}),
      tested(kUpdates, {"optimizer.params.nesterov", kBool, "false", "", kHonoured,
                        "Nesterov's momentum; needs momentum and no dampening", "", "", "SGD"}),
      tested("SGD needs zero_allow_untested_optimizer where ZeRO is on",
             {"zero_allow_untested_optimizer", kBool, "false", "", kHonoured,
              "lets ZeRO run with optimizers that DeepSpeed did not test: of those here, SGD"}),
      {"zero_force_ds_cpu_optimizer", kBool, "true", "", kNoEffect,
       "offload needs DeepSpeed's own CPU optimizer where a script brings one; a config never does"},
  };
  return kKeys;
}

}  // namespace llama_zero::schema_tables
