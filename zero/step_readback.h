// The way of a step's results to the host, which reads them one step late.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/step_state.h"
#include "zero/rank_context.h"

namespace llama_zero {

/// Page-locked copies of the results of up to two steps. Does not wait but in `take`.
class StepReadback {
 public:
  /// Labels "step state": fp64 [1] and fp64 [ranks].
  explicit StepReadback(const RankContext& context);

  /// fp64 [1] on the device: where a step adds up its losses.
  View loss_sum() const { return own_loss_; }

  /// The work of a step begins in `stream`.
  void begin(Stream& stream);
  /// Collective. What `state` (u8 [sizeof(StepState)]) and every rank's loss_sum hold once `stream` gets here is copied
  /// to the host. At most two steps wait to be taken.
  void give(ConstView state, Stream& stream);

  struct Values {
    double loss_sum = 0.0;  ///< of all ranks, added in rank order
    StepState state;
    /// From the end of the step before when that had not been taken at this one's beginning, else from its beginning.
    double seconds = 0.0;
  };
  /// The oldest step given and not taken; waits until it is done. On a null device: an initial state.
  Values take();

 private:
  struct Slot {
    std::unique_ptr<HostBuffer> memory;  ///< StepState, then fp64 [ranks]
    std::unique_ptr<Event> begun, arrived;
    bool follows = false;  ///< the device went from one step to the next without a pause
  };
  Slot& slot_of(std::int64_t step);
  View state_of(const Slot& slot) const;
  View losses_of(const Slot& slot) const;

  const RankContext& context_;
  View own_loss_, all_losses_;
  std::array<Slot, 3> slots_;  // two that wait, and the one before them, whose end times the next
  std::int64_t given_ = 0, taken_ = 0;
};

}  // namespace llama_zero
