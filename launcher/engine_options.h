// The engine's options of a resolved config.
#pragma once

#include "launcher/config.h"
#include "zero/engine.h"

namespace llama_zero {

EngineOptions engine_options_of(const TrainConfig& config);

}  // namespace llama_zero
