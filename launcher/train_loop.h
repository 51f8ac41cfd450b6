// The steps of a training run, one after another, each reported.
#pragma once

#include <cstdint>
#include <string>

#include "core/arena.h"
#include "launcher/account.h"
#include "launcher/checkpoint_saver.h"
#include "launcher/monitor/run_monitor.h"
#include "launcher/run_folder.h"
#include "launcher/runtime.h"
#include "launcher/stop_signal.h"
#include "launcher/train_setup.h"
#include "zero/engine.h"

namespace llama_zero {

/// What the steps add up to.
struct TrainTotals {
  std::int64_t steps = 0, skipped = 0;
  std::int64_t samples = 0, tokens = 0, padded_tokens = 0;
  std::int64_t steps_before = 0, tokens_before = 0;  ///< of these, what lay behind the checkpoint resumed from
  double seconds = 0.0;
  double first_loss = 0.0, last_loss = 0.0;
  Account account;      ///< of rank 0's collectives and host copies since the start or the checkpoint
  int stop_signal = 0;  ///< the signal that ended the run early on some rank, or 0
  std::string failure;  ///< fp16: overflow with the loss scale at its minimum ended the run, on every rank
};

/// Collective. Runs the steps from `start` (all zero: the first) to `setup.config.total_steps`, fewer when any rank is
/// told to stop. `saver` saves as often as the config says, when told to stop, and before a failure is reported.
/// `monitor` watches. Rank 0 prints the step lines and writes metrics.jsonl.
///
/// Tests only: the environment variable LLAMA_ZERO_TEST_KILL="RANK:STEP" makes that rank kill itself before that step.
TrainTotals run_training(TrainSetup& setup, Engine& engine, Arena& arena, Runtime& runtime, const RunFolder& folder,
                         const StopSignal& signal, RunMonitor& monitor, CheckpointSaver& saver,
                         const RunPosition& start);

}  // namespace llama_zero
