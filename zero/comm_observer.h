// Watching collectives, waits for them, and host copies from outside.
#pragma once

#include <cstdint>
#include <string_view>

#include "core/device.h"

namespace llama_zero {

/// One call of a collective on this rank, or one copy between host and device.
struct CommCall {
  /// A literal: "all_gather", "all_to_all", "broadcast", "send", "recv", "barrier"; "copy_to_host", "copy_to_device",
  /// "copy_activations_to_host", "copy_activations_to_device".
  std::string_view op;
  std::int64_t bytes =
      0;  ///< what this rank gives: its piece of an all-gather, all its pieces of an all-to-all, a buffer
  Stream* stream = nullptr;  ///< where it runs; null for a barrier
  std::int64_t step = 0;     ///< the optimizer step it belongs to, as Communicator::set_step said
  bool background = false;   ///< it runs beside the computation, on a stream of Communicator::set_background
};

class CommObserver {
 public:
  virtual ~CommObserver() = default;
  /// Before a collective is given to its stream, and after that. A call that throws has no `after`.
  virtual void before(const CommCall& call) = 0;
  virtual void after(const CommCall& call) = 0;

  /// The same for a copy between host and device.
  virtual void before_copy(const CommCall& /*call*/) {}
  virtual void after_copy(const CommCall& /*call*/) {}

  /// Around the point at which call.stream, where the computation runs, is made to wait for background work of kind
  /// call.op; `bytes` is 0.
  virtual void before_wait(const CommCall& /*call*/) {}
  virtual void after_wait(const CommCall& /*call*/) {}
};

}  // namespace llama_zero
