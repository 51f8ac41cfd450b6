// The seam between device buffers and transports that read and write host memory (threads, MPI).
#pragma once

#include "core/device.h"
#include "core/view.h"

namespace llama_zero {

/// Host-visible memory for the two ends of one collective. This base is the identity: on the CPU a device buffer is
/// host memory. A CUDA staging copies through pinned memory instead.
class HostStaging {
 public:
  virtual ~HostStaging() = default;
  /// Host memory with the content `source` has once `stream` has reached this call; valid until the collective ends.
  virtual ConstView fetch(ConstView source, Stream& stream) {
    stream.synchronize();
    return source;
  }
  /// Host memory where the transport puts what is meant for `destination`.
  virtual View open(View destination, Stream& stream) {
    stream.synchronize();
    return destination;
  }
  /// The transport has filled what `open` gave: later work of `stream` sees it in `destination`.
  virtual void close(View /*destination*/, Stream& /*stream*/) {}
};

}  // namespace llama_zero
