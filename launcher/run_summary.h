// summary.json of a finished run: what its last lines say, for programs to read.
#pragma once

#include <string>

#include "launcher/model_transfer.h"
#include "launcher/plan_case.h"
#include "launcher/train_loop.h"
#include "launcher/train_setup.h"

namespace llama_zero {

/// The object, indented: model, parameters, device, ranks, steps, skipped, tokens, samples, seconds, first_loss,
/// last_loss, eval_loss (null: none), "communication" and "host_copies": calls, bytes, ms and wait_ms of rank 0's steps
/// by kind (launcher/account.h), "import" (null: nothing was imported) and "export" (null: no model was written):
/// bytes, seconds and the highest anonymous_bytes, shared_bytes and pinned_bytes of a rank meanwhile, arena_bytes of
/// these (launcher/model_transfer.h), and "memory": planned and measured, each with peak_bytes and the bytes at the peak
/// by label, of one rank, and host_planned and host_measured where something waits in host memory. Losses that are not
/// finite become null.
std::string run_summary(const TrainSetup& setup, const TrainTotals& totals, std::optional<double> eval_loss,
                        const MemoryForecast& measured, const ModelTransfers& transfers, const std::string& device,
                        int ranks);

}  // namespace llama_zero
