#include "launcher/optimizer_config.h"

#include <fmt/format.h>

#include <string_view>

namespace llama_zero {
namespace {

bool is_adam(OptimizerKind kind) { return kind == OptimizerKind::kAdamW || kind == OptimizerKind::kAdam; }

std::string describe_decay(const OptimizerConfig& config) {
  if (config.weight_decay == 0.0) return "no weight decay";
  const bool in_gradient = config.kind != OptimizerKind::kAdamW && config.kind != OptimizerKind::kLion;
  return fmt::format("weight decay {:g}{}{}", config.weight_decay, in_gradient ? " in the gradient" : "",
                     config.exempt_norms_and_embeddings ? ", norms and embeddings exempt" : "");
}

std::string describe_own(const OptimizerConfig& config) {
  if (is_adam(config.kind)) {
    return fmt::format("betas {:g} {:g}, eps {:g}{}", config.beta1, config.beta2, config.eps,
                       config.bias_correction ? "" : ", no bias correction");
  }
  if (config.kind == OptimizerKind::kLion) return fmt::format("betas {:g} {:g}", config.beta1, config.beta2);
  if (config.kind == OptimizerKind::kAdagrad) {
    return fmt::format("eps {:g}, lr_decay {:g}, first accumulator {:g}", config.eps, config.lr_decay,
                       config.initial_accumulator_value);
  }
  if (config.momentum == 0.0) return "no momentum";
  return fmt::format("momentum {:g}, dampening {:g}{}", config.momentum, config.dampening,
                     config.nesterov ? ", Nesterov's" : "");
}

}  // namespace

OptimizerOptions optimizer_options(const OptimizerConfig& config) {
  OptimizerOptions options;
  options.kind = config.kind;
  options.eps = config.eps;
  options.weight_decay = config.weight_decay;
  options.exempt_norms_and_embeddings = config.exempt_norms_and_embeddings;
  options.momentum = config.momentum;
  options.dampening = config.dampening;
  options.nesterov = config.nesterov;
  options.initial_accumulator_value = config.initial_accumulator_value;
  return options;
}

std::string describe_optimizer(const OptimizerConfig& config) {
  return fmt::format("{}, {}, {}", config.type, describe_own(config), describe_decay(config));
}

std::string describe_optimizer_states(const OptimizerConfig& config) {
  std::string text = "fp32 master weights";
  for (const std::string_view name : state_names(optimizer_options(config))) text += fmt::format(", {}", name);
  return text;
}

}  // namespace llama_zero
