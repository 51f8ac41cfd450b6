// The config's optimizer section as the engine's options, and as a line of the header.
#pragma once

#include <string>

#include "launcher/config.h"
#include "zero/optimizer_options.h"

namespace llama_zero {

OptimizerOptions optimizer_options(const OptimizerConfig& config);

/// "AdamW, betas 0.9 0.999, eps 1e-08, weight decay 0.01 (norms and embeddings exempt)": the parameters that the type
/// has.
std::string describe_optimizer(const OptimizerConfig& config);

/// "fp32 master weights, exp_avg, exp_avg_sq": what the optimizer keeps.
std::string describe_optimizer_states(const OptimizerConfig& config);

}  // namespace llama_zero
