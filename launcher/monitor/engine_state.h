// dump_state: what the engine of this rank is made of.
#pragma once

#include <string>

#include "launcher/config.h"
#include "model/param_table.h"
#include "zero/engine.h"

namespace llama_zero {

/// "Engine:" and a line "  name ........ value" an attribute, in alphabetical order, as DeepSpeed prints its own; a
/// newline after each.
std::string engine_state_text(const TrainConfig& config, const EngineOptions& options, const ParamTable& table,
                              int rank, int ranks);

}  // namespace llama_zero
