// The limit of a step: its recorded ops again, in order and back to back, each at the speed of the best library kernel
// or of a copy of the bytes that it must move.
#pragma once

#include <cstdint>
#include <vector>

#include "core/arena.h"
#include "kernels/ops.h"
#include "zero/bench/recorded_ops.h"

namespace llama_zero::bench {

struct Samples {
  double median_ms = 0.0;
  double spread = 0.0;  ///< (90th - 10th percentile) / median
};
Samples summarise(std::vector<double> milliseconds);

struct StepLimit {
  Samples step;
  std::vector<double> op_ms;  ///< of every recorded op
};

class LimitReplay {
 public:
  /// `library` runs the kLibrary ops; its workspace is set. Scratch for copies comes from `arena`: 2 * kScratchBytes.
  LimitReplay(Device& device, Ops& library, Arena& arena);

  static constexpr std::int64_t kScratchBytes = std::int64_t{512} << 20;

  /// Bytes read plus bytes written a second, copying kScratchBytes.
  double copy_bytes_per_second();
  /// `steps` replays for the time of a step, after some that are not counted; then some more with every op timed.
  StepLimit measure(const std::vector<RecordedOp>& ops, int steps);

 private:
  void replay(const std::vector<RecordedOp>& ops);
  void replay(const RecordedOp& op);
  /// Reads half of `bytes` and writes half of it, at another place each time so that no cache has it.
  void move_bytes(double bytes);

  Device& device_;
  Ops& library_;
  std::unique_ptr<Stream> stream_;
  View from_, to_;
  std::int64_t next_ = 0;
};

}  // namespace llama_zero::bench
