// The train command.
#pragma once

#include "launcher/cli.h"
#include "zero/mpi_communicator.h"

namespace llama_zero {

/// Collective. Returns the exit code. Throws AgreedError for what all ranks know, other Errors for one rank's trouble.
/// Tests only: LLAMA_ZERO_POISON=1 in the environment fills unused memory with NaN.
int run_train(const TrainArguments& arguments, MpiWorld& world);

}  // namespace llama_zero
