// Phrases in which header and plan describe a run.
#pragma once

#include <string>

#include "launcher/config.h"
#include "model/param_table.h"

namespace llama_zero {

/// "4 layers, hidden 128, 4 heads (4 key-value), feed-forward 352, vocabulary 768; 1,234,567 parameters"
std::string describe_shape(const ParamTable& table);

/// "stage 3: optimizer states, gradients and weights are sharded"
std::string describe_stage(int stage);

/// "none", "selective", "full": the config's words.
std::string name_of(ActivationCheckpointing mode);

}  // namespace llama_zero
