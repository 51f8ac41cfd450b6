// Where a run stands in its data, for a checkpoint.
#pragma once

#include "data/loader.h"
#include "launcher/run_position.h"
#include "launcher/train_setup.h"

namespace llama_zero {

/// Fills in what the data are and which row comes next, the first of batch `next`.
void describe_data(RunPosition& position, const TrainSetup& setup, const LoaderPosition& next);

}  // namespace llama_zero
