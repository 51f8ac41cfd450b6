// What a run says about itself before its first step.
#pragma once

#include <string>

#include "core/arena.h"
#include "launcher/runtime.h"
#include "launcher/train_setup.h"

namespace llama_zero {

/// Logs program, device, ranks, model, data, batch arithmetic, precision, ZeRO stage, schedule, the memory plan, and
/// each warning once. Does nothing on ranks other than 0.
void print_header(const TrainSetup& setup, const Runtime& runtime);

/// The plan as one report: the ops' workspace is a label like any other.
MemoryReport with_workspace(const MemoryPlan& plan);

/// "4 layers, hidden 128, 4 heads (4 key-value), feed-forward 352, vocabulary 768; 1,234,567 parameters"
std::string describe_shape(const ParamTable& table);

}  // namespace llama_zero
