// eval --ids: loss of a model on rows of token ids, without a tokenizer.
#pragma once

#include "launcher/cli.h"
#include "zero/mpi_communicator.h"

namespace llama_zero {

/// Collective. Each rank works on its share of the rows. Returns the exit code.
int run_eval_ids(const EvalArguments& arguments, MpiWorld& world);

}  // namespace llama_zero
