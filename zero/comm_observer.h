// Watching collectives from outside.
#pragma once

#include <cstdint>
#include <string_view>

#include "core/device.h"

namespace llama_zero {

/// One call of a collective on this rank.
struct CommCall {
  std::string_view op;  ///< "all_gather", "all_to_all", "broadcast", "send", "recv", "barrier"; a literal
  std::int64_t bytes =
      0;  ///< what this rank gives: its piece of an all-gather, all its pieces of an all-to-all, a buffer
  Stream* stream = nullptr;  ///< where it runs; null for a barrier
  std::int64_t step = 0;     ///< the optimizer step it belongs to, as Communicator::set_step said
};

class CommObserver {
 public:
  virtual ~CommObserver() = default;
  /// Before the call is given to its stream, and after that. A call that throws has no `after`.
  virtual void before(const CommCall& call) = 0;
  virtual void after(const CommCall& call) = 0;
};

}  // namespace llama_zero
