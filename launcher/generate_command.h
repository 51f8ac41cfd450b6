// The generate command: one instruction, one answer.
#pragma once

#include "launcher/cli.h"
#include "zero/mpi_communicator.h"

namespace llama_zero {

/// Collective; rank 0 does the work and prints the answer. Returns the exit code.
int run_generate(const GenerateArguments& arguments, MpiWorld& world);

}  // namespace llama_zero
