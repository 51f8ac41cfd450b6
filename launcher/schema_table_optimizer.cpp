// Rows of "optimizer".
#include "launcher/schema.h"

namespace llama_zero {

std::string_view optimizer_types() {
  return "Adam|AdamW|Adagrad|Lamb|Lion|Muon|OneBitAdam|OneBitLamb|ZeroOneAdam|MuAdam|MuAdamW|MuSGD|SGD";
}

std::string_view supported_optimizer_types() { return "AdamW|Adam"; }

}  // namespace llama_zero

namespace llama_zero::schema_tables {

using enum ValueType;
using enum KeyStatus;

namespace {
constexpr std::string_view kAdam = "Adam|AdamW";
constexpr std::string_view kLater = "only Adam and AdamW are supported yet";
}  // namespace

std::span<const SchemaKey> optimizer_keys() {
  static constexpr SchemaKey kKeys[] = {
      {"optimizer.type", kString, R"("AdamW")", "", kHonoured,
       "AdamW or Adam, in any case; without an optimizer section AdamW, as Hugging Face's Trainer"},
      {"optimizer.legacy_fusion", kBool, "false", "", kNoEffect, "old fused kernel of stage 0 in fp16"},
      {"optimizer.params.lr", kNumber, "0.001", ">= 0", kHonoured, "learning rate", "",
       "the preset's rate for random weights, 2e-5 for an imported model", kAdam},
      {"optimizer.params.betas", kList, "[0.9,0.999]", "", kHonoured, "decay of the two moments, each in [0, 1)", "",
       "[0.9, 0.999]", kAdam},
      {"optimizer.params.eps", kNumber, "1e-8", ">= 0", kHonoured, "added to the root of the second moment", "", "1e-8",
       kAdam},
      {"optimizer.params.weight_decay", kNumber, "0", ">= 0", kHonoured,
       "decoupled weight decay on every parameter, norms and embeddings too; torch_adam makes AdamW's default 0.01", "",
       "0", kAdam},
      {"optimizer.params.bias_correction", kBool, "true", "", kHonoured, "divide the moments by 1 - beta^step", "", "",
       kAdam},
      {"optimizer.params.adam_w_mode", kBool, "true", "", kRejected,
       "Adam: false adds weight decay to the gradient; AdamW always decouples it",
       "Adam with weight decay in the gradient is not supported yet; leave it true", "", "Adam"},
      {"optimizer.params.adam_w_mode", kBool, "true", "", kNoEffect, "AdamW always decouples weight decay",
       "AdamW always decouples weight decay, in DeepSpeed too", "", "AdamW"},
      {"optimizer.params.amsgrad", kBool, "false", "", kRejected, "AMSGrad variant",
       "DeepSpeed's Adam has no AMSGrad; set false", "", kAdam},
      {"optimizer.params.set_grad_none", kBool, "true", "", kNoEffect, "frees gradients in PyTorch", "", "", kAdam},
      {"optimizer.params.fp32_optimizer_states", kBool, "true", "", kRejected, "moments in fp32",
       "moments are always fp32; leave it true", "", kAdam},
      {"optimizer.params.torch_adam", kBool, "false", "", kHonoured,
       "takes torch's implementation in DeepSpeed; here it only changes AdamW's default weight_decay", "", "", kAdam},
      {"optimizer.params.max_grad_norm", kNumber, "null", "", kRejected, "old place of gradient clipping",
       "use the top-level key gradient_clipping", "", "Adam|AdamW|Lamb|Lion|Adagrad|Muon|SGD"},
      {"optimizer.params.lr", kNumber, "0.001", ">= 0", kRejected, "learning rate", kLater, "", "Lion|Lamb|SGD"},
      {"optimizer.params.lr", kNumber, "0.01", ">= 0", kRejected, "learning rate", kLater, "", "Adagrad"},
      {"optimizer.params.lr", kNumber, "null", ">= 0", kRejected, "learning rate of both groups", kLater, "", "Muon"},
      {"optimizer.params.betas", kList, "[0.9,0.999]", "", kRejected, "decay of the moments", kLater, "", "Lion|Lamb"},
      {"optimizer.params.betas", kList, "[0.9,0.95]", "", kRejected, "decay of the Adam group's moments", kLater, "",
       "Muon"},
      {"optimizer.params.eps", kNumber, "1e-8", ">= 0", kRejected, "added to the root of the second moment", kLater, "",
       "Lamb"},
      {"optimizer.params.eps", kNumber, "1e-10", ">= 0", kRejected, "added to the root", kLater, "", "Adagrad|Muon"},
      {"optimizer.params.weight_decay", kNumber, "0", ">= 0", kRejected, "weight decay", kLater, "",
       "Lion|Lamb|Adagrad|Muon|SGD"},
      {"optimizer.params.bias_correction", kBool, "true", "", kRejected, "divide the moments by 1 - beta^step", kLater,
       "", "Lamb"},
      {"optimizer.params.max_coeff", kNumber, "10", "> 0", kRejected, "largest trust ratio", kLater, "", "Lamb"},
      {"optimizer.params.min_coeff", kNumber, "0.01", "> 0", kRejected, "smallest trust ratio", kLater, "", "Lamb"},
      {"optimizer.params.lr_decay", kNumber, "0", ">= 0", kRejected, "decay of the learning rate", kLater, "",
       "Adagrad"},
      {"optimizer.params.initial_accumulator_value", kNumber, "0", ">= 0", kRejected, "first sum of squares", kLater,
       "", "Adagrad"},
      {"optimizer.params.momentum", kNumber, "0", ">= 0", kRejected, "momentum", kLater, "", "SGD"},
      {"optimizer.params.dampening", kNumber, "0", "", kRejected, "dampening of the momentum", kLater, "", "SGD"},
      {"optimizer.params.nesterov", kBool, "false", "", kRejected, "Nesterov's momentum", kLater, "", "SGD"},
      {"optimizer.params.momentum", kNumber, "0.95", ">= 0", kRejected, "momentum of the Muon group", kLater, "",
       "Muon"},
      {"optimizer.params.muon_lr", kNumber, "0.02", ">= 0", kRejected, "learning rate of the Muon group", kLater, "",
       "Muon"},
      {"optimizer.params.adam_lr", kNumber, "0.0003", ">= 0", kRejected, "learning rate of the Adam group", kLater, "",
       "Muon"},
      {"optimizer.params.ns_method", kString, R"("gram")", "", kRejected, "Newton-Schulz method", kLater, "", "Muon"},
      {"zero_allow_untested_optimizer", kBool, "false", "", kNoEffect,
       "lets ZeRO run with optimizers that DeepSpeed did not test; those supported here need no leave"},
      {"zero_force_ds_cpu_optimizer", kBool, "true", "", kNoEffect, "offload needs DeepSpeed's own CPU optimizer"},
  };
  return kKeys;
}

}  // namespace llama_zero::schema_tables
