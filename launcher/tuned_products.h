// The tune file of a run on GPUs (kernels/cuda/tune.h).
#pragma once

#include <string>

#include "launcher/run_folder.h"
#include "launcher/runtime.h"
#include "launcher/train_setup.h"
#include "zero/checkpoint/folder.h"

namespace llama_zero {

constexpr const char* kTuneFile = "tune.json";  ///< its name in a run's folder and in a checkpoint

/// Collective, before the run's memory is taken. On a GPU every rank then uses the table that choose_tune_table
/// (launcher/tune_choice.h) finds; rank 0 times the products of the plan where one is to be made, and writes what is
/// used to the file of llama_zero.tune, unless it came from there, and to the run's folder. `resumed`: the checkpoint
/// that the run goes on from; null: none. Throws AgreedError for a named file that is no tune table, or one of another
/// GPU model or library version.
///
/// Returns what the run's checkpoints keep: the table in use, or one of its checkpoint that cannot be used here and is
/// handed on to where it can; empty: none.
std::string use_tuned_products(const TrainSetup& setup, Runtime& runtime, const RunFolder& folder,
                               const CheckpointReader* resumed);

}  // namespace llama_zero
