// What a run says about itself before its first step.
#pragma once

#include "launcher/runtime.h"
#include "launcher/train_setup.h"

namespace llama_zero {

/// Logs program, device, ranks, model, data, batch arithmetic, precision, ZeRO stage, schedule, the memory plan, and
/// each warning once. Does nothing on ranks other than 0.
void print_header(const TrainSetup& setup, const Runtime& runtime);

}  // namespace llama_zero
