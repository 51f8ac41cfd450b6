// The curves of a run: DeepSpeed's tags, and ours under the same roof.
//
//   Train/Samples/lr                        learning rate of the next update, as DeepSpeed writes it
//   Train/Samples/loss_scale                fp16 only: the scale of the next step
//   Train/Samples/elapsed_time_ms_forward, _backward, _backward_inner, _backward_allreduce, _step
//                                           with wall_clock_breakdown
//   Train/Samples/train_loss                loss of the step (DeepSpeed wrote it up to 0.18.2)
//   Train/Samples/grad_norm                 gradient norm before clipping
//   Train/Samples/tokens_per_second         of all ranks
//   Train/Samples/max_memory_gb             highest device memory of rank 0 so far, 2^30 bytes
//
// The x axis is DeepSpeed's global_samples: steps times train_batch_size, skipped steps included. (The last batch of an
// epoch may be shorter; metrics.jsonl counts its rows.)
#pragma once

#include <optional>
#include <vector>

#include "launcher/monitor/scalar_writer.h"
#include "launcher/step_report.h"
#include "zero/step_timing.h"

namespace llama_zero {

struct ScalarOptions {
  std::int64_t train_batch_size = 0;
  bool fp16 = false;
};

std::vector<Scalar> step_scalars(const StepReport& report, const ScalarOptions& options, double next_lr,
                                 const std::optional<StepTimes>& times);

}  // namespace llama_zero
