// The tune file of a run on GPUs (kernels/cuda/tune.h).
#pragma once

#include "launcher/run_folder.h"
#include "launcher/runtime.h"
#include "launcher/train_setup.h"

namespace llama_zero {

/// Collective, before the run's memory is taken. With llama_zero.tune on a GPU: rank 0 reads the file, or times the
/// products of the plan and writes it; every rank then uses what it says, and a copy stays in the run's folder as
/// tune.json. Throws AgreedError for a file that is no tune table, or one of another GPU model or library version.
void use_tuned_products(const TrainSetup& setup, Runtime& runtime, const RunFolder& folder);

}  // namespace llama_zero
