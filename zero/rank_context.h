// What every part of one rank's engine works with, and how two streams are put in order.
#pragma once

#include <memory>

#include "core/arena.h"
#include "core/device.h"
#include "core/host_arena.h"
#include "kernels/ops.h"
#include "zero/communicator.h"
#include "zero/layout.h"

namespace llama_zero {

/// References live as long as the engine.
struct RankContext {
  Device& device;
  Ops& ops;
  Communicator& communicator;
  Arena& arena;
  HostArena& host;  ///< what is offloaded
  const Layout& layout;
  Stream& communication;  ///< gathers and reductions run here while the model computes on its own stream
  Stream& upload;         ///< copies from host to device memory run here,
  Stream& download;       ///< and those back here, so that both ways of the bus are used

  int rank() const { return layout.rank(); }
  int ranks() const { return layout.ranks(); }
};

/// Later work of `after` follows everything given to `before` so far.
inline void order_streams(Event& event, Stream& before, Stream& after) {
  event.record(before);
  event.wait(after);
}

/// Memory of `numel` elements that starts as zeros.
inline View allocate_zeros(const RankContext& context, std::string_view label, DType dtype, std::int64_t numel) {
  const View view = context.arena.allocate(label, dtype, numel);
  context.device.fill_bytes(view, 0, context.communication);
  return view;
}

}  // namespace llama_zero
