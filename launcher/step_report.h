// What one optimizer step has to tell: the step line and the line of metrics.jsonl are both made from it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace llama_zero {

/// One optimizer step of the whole run (all ranks together).
struct StepReport {
  std::int64_t step = 0;         ///< 1-based; skipped steps count
  std::int64_t total_steps = 0;  ///< where the run will stop
  double loss = 0.0;             ///< mean over the loss tokens of the global batch
  double lr = 0.0;               ///< learning rate of this step's update
  double grad_norm = 0.0;        ///< L2 norm of the averaged gradients before clipping; not finite when skipped
  double loss_scale = 1.0;       ///< the scale that this step's gradients carried
  double next_loss_scale = 1.0;  ///< the scale of the next step
  bool skipped = false;          ///< gradients were not finite: nothing was updated
  std::int64_t samples = 0;      ///< samples seen so far, this step included
  std::int64_t tokens = 0;       ///< real tokens seen so far, this step included
  double tokens_per_second = 0;  ///< of this step
  double step_ms = 0.0;
  std::size_t mem_peak_bytes = 0;  ///< highest arena + workspace bytes of a rank so far
  std::int64_t comm_bytes = 0;     ///< of rank 0's collectives in this step, as launcher/account.h counts them
  double comm_ms = 0.0;            ///< time of these collectives
  double wait_ms = 0.0;            ///< time for which rank 0's computation stood still for them
  double epoch = 0.0;              ///< passes over the data so far, e.g. 0.25
};

}  // namespace llama_zero
