// New weights on their way from the host, where the optimizer computes them, to the model's copy on the device.
//
// Tiles go through two buffers in turn, so that one is computed while the other travels; what lies in memory that stays
// (a gradient that is no longer needed, an fp32 master) travels from there.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "zero/offload.h"
#include "zero/rank_context.h"

namespace llama_zero {

class WeightTransfer {
 public:
  /// Two buffers of `tile` elements, label "host optimizer".
  WeightTransfer(const RankContext& context, DType dtype, std::int64_t tile, HostMemory memory);

  /// What other streams have done with the weights so far comes before the copies that follow.
  void begin(Stream& compute);
  /// Waits until `compute` has passed the last begin.
  void wait_for_begin();

  /// A buffer that the caller may fill at once; waits until its last content has gone up.
  View buffer(std::int64_t count);
  /// `weights` in host memory, filled, go to the device. They must stay until finish or, in a buffer, until it is given
  /// out again.
  void send_up(ConstView weights, View destination);
  /// Later work of `compute` follows all copies.
  void finish(Stream& compute);

 private:
  struct Buffer {
    View memory;
    std::unique_ptr<Event> sent;
  };

  const RankContext& context_;
  std::array<Buffer, 2> buffers_;
  std::size_t turn_ = 0;
  std::unique_ptr<Event> order_, begun_;
};

}  // namespace llama_zero
