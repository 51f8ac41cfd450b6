#include "launcher/optimizer_types.h"

#include <fmt/format.h>

#include "core/error.h"
#include "launcher/schema.h"
#include "launcher/schema_coerce.h"

namespace llama_zero {
namespace {

struct Refusal {
  std::string_view names;  ///< "|" between
  std::string_view sentence;
};

constexpr Refusal kRefusedOptimizers[] = {
    {"Lamb",
     "it scales each tensor's step by a trust ratio, made for batches of tens of thousands; AdamW does for "
     "fine-tuning"},
    {"Muon", "it orthogonalises whole matrices, which are cut into shards here; use AdamW"},
    {"OneBitAdam|OneBitLamb|ZeroOneAdam",
     "it compresses gradients to one bit and works without ZeRO only, in DeepSpeed too; use AdamW, and bf16 or fp16 "
     "gradients"},
    {"MuAdam|MuAdamW|MuSGD", "it needs widths annotated for muP, which a Llama-2 model has not; use AdamW or SGD"},
};

/// torch.optim's other classes, whose names DeepSpeed takes as they are written.
constexpr std::string_view kTorchOptimizers =
    "Adadelta|Adafactor|Adamax|ASGD|LBFGS|NAdam|RAdam|RMSprop|Rprop|SparseAdam";

constexpr std::string_view kTorchSchedulers =
    "LambdaLR|MultiplicativeLR|StepLR|MultiStepLR|ConstantLR|LinearLR|ExponentialLR|PolynomialLR|CosineAnnealingLR|"
    "ChainedScheduler|SequentialLR|ReduceLROnPlateau|CyclicLR|OneCycleLR|CosineAnnealingWarmRestarts";

std::string_view closest_torch_scheduler_substitute(std::string_view name) {
  if (name == "CosineAnnealingLR" || name == "CosineAnnealingWarmRestarts") return "WarmupCosineLR";
  if (name == "OneCycleLR" || name == "CyclicLR") return "OneCycle";
  if (name == "ConstantLR") return "constant";
  if (name == "LinearLR" || name == "PolynomialLR") return "WarmupDecayLR";
  return {};
}

std::string near(std::string_view name, std::string_view list) {
  const std::string found = closest_name(name, split_list(list));
  return found.empty() ? std::string() : fmt::format("; did you mean \"{}\"?", found);
}

std::string the_others() { return fmt::format("(here: {})", spell_list(supported_optimizer_types())); }

}  // namespace

std::string checked_optimizer_type(std::string_view written, std::string_view where) {
  std::string name;
  for (const std::string_view known : split_list(optimizer_types())) {
    if (lower_case(known) == lower_case(written)) name = std::string(known);
  }
  require(name != "SGD" || written == "SGD",
          "{}: optimizer.type \"{}\": DeepSpeed finds torch's optimizers by their exact names; write \"SGD\"", where,
          written);
  if (list_contains(supported_optimizer_types(), name)) return name;
  for (const Refusal& refusal : kRefusedOptimizers) {
    if (!list_contains(refusal.names, name)) continue;
    fail("{}: optimizer.type \"{}\" does not run here {}: {}", where, name, the_others(), refusal.sentence);
  }
  require(!list_contains(kTorchOptimizers, written),
          "{}: optimizer.type \"{}\" is torch.optim's, which is not part of this program {}; use AdamW", where, written,
          the_others());
  fail("{}: optimizer.type \"{}\" is not known{} {}", where, written, near(written, optimizer_types()), the_others());
}

std::string checked_scheduler_type(std::string_view written, std::string_view where) {
  if (list_contains(scheduler_types(), written)) return std::string(written);
  if (list_contains(kTorchSchedulers, written)) {
    const std::string_view substitute = closest_torch_scheduler_substitute(written);
    fail("{}: scheduler.type \"{}\" is torch.optim.lr_scheduler's, which is not part of this program (here: {}){}",
         where, written, spell_list(scheduler_types()),
         substitute.empty() ? std::string() : fmt::format("; use {}", substitute));
  }
  fail("{}: scheduler.type \"{}\" is not known{} (known: {})", where, written, near(written, scheduler_types()),
       spell_list(scheduler_types()));
}

}  // namespace llama_zero
