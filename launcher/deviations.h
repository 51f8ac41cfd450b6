// Where a run deliberately differs from DeepSpeed's, beyond rounding.
#pragma once

#include <string>
#include <vector>

#include "launcher/config.h"

namespace llama_zero {

/// Those that matter to this run, a clause each; the rest of the config means what DeepSpeed makes of it.
std::vector<std::string> deviations(const TrainConfig& config, int ranks);

}  // namespace llama_zero
