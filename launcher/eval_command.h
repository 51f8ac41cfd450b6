// The eval command: loss and exact match of a model on an Alpaca file, by family.
#pragma once

#include "launcher/cli.h"
#include "zero/mpi_communicator.h"

namespace llama_zero {

/// Collective. Each rank works on its share of the rows. Returns the exit code; throws AgreedError when
/// --min-exact-match or
/// --min-family is not reached, after everything was printed.
int run_eval(const EvalArguments& arguments, MpiWorld& world);

}  // namespace llama_zero
