// A pass's host arrays, checked and copied to the device.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "core/arena.h"
#include "core/device.h"
#include "core/pass.h"
#include "kernels/ops.h"
#include "model/config.h"

namespace llama_zero {

/// Device copies of one pass; `documents` also refers to the pass's host array.
struct PassInputs {
  View tokens, targets, positions;  ///< i32 [T]
  View loss_weights;                ///< fp32 [T], or absent: 1 each
  Documents documents;
};

/// Throws Error naming index and value unless array sizes agree, documents tile the pass, tokens and targets lie in the
/// vocabulary (or are kIgnoreTarget) and positions below `max_positions`.
void check_pass(const Pass& pass, const LlamaConfig& config, std::int64_t max_positions);

/// Page-locked host memory through which passes reach the device, so that a caller may reuse its pass at once and the
/// host does not wait for the stream. Up to kSlots passes are on their way; the next one waits for the oldest.
class PassStaging {
 public:
  static constexpr std::size_t kSlots = 16;

  explicit PassStaging(Device& device) : device_(device) {}

  /// Host memory of at least `bytes` whose earlier content has been copied away.
  std::byte* begin(std::size_t bytes);
  /// `stream` has been given the copies from what `begin` gave.
  void end(Stream& stream);

 private:
  struct Slot {
    std::unique_ptr<HostBuffer> memory;
    std::unique_ptr<Event> copied;
  };

  Device& device_;
  std::array<Slot, kSlots> slots_;
  std::size_t next_ = 0;
};

/// Checks the pass and copies it into `arena` (label "activations") through `staging`. The caller's pass is not needed
/// any more when the call returns, but for `documents.host_cu_seqlens`, which ops read while they are called.
PassInputs load_pass(const Pass& pass, const LlamaConfig& config, std::int64_t max_positions, PassStaging& staging,
                     Arena& arena, Stream& stream);

}  // namespace llama_zero
