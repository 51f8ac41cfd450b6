// The seam between device buffers and transports that read and write host memory (threads, MPI).
#pragma once

#include <cstddef>
#include <cstring>
#include <limits>

#include "core/device.h"
#include "core/view.h"

namespace llama_zero {

/// Host-visible memory for the two ends of a collective, which moves chunk by chunk through two slots (0 and 1): while
/// the transport moves one chunk, the next one is on its way to the host and the last one on its way to the device.
/// This base is the identity: on the CPU a device buffer is host memory, and a collective is one chunk.
///
/// Of a chunk: begin_outgoing, fetch each part, (the next chunk's begin_outgoing and fetches,) wait_outgoing;
/// begin_incoming, open each part, let the transport work, close each part.
class HostStaging {
 public:
  static constexpr int kSlots = 2;

  virtual ~HostStaging() = default;
  /// Bytes that the parts of one chunk have together, outgoing and incoming each.
  virtual std::size_t chunk_bytes() const { return std::numeric_limits<std::size_t>::max(); }

  /// The slot's earlier outgoing parts are no longer needed.
  virtual void begin_outgoing(int /*slot*/) {}
  /// Host memory that, from wait_outgoing on, has the content `source` has once `stream` has reached this call.
  virtual ConstView fetch(ConstView source, int /*slot*/, Stream& /*stream*/) { return source; }
  virtual void wait_outgoing(int /*slot*/, Stream& stream) { stream.synchronize(); }

  /// Waits until the slot's earlier incoming parts have reached the device.
  virtual void begin_incoming(int /*slot*/) {}
  /// Host memory where the transport puts what is meant for `destination`.
  virtual View open(View destination, int /*slot*/, Stream& /*stream*/) { return destination; }
  /// The transport has filled `host`, which `open` gave: later work of `stream` sees it in `destination`.
  virtual void close(View /*host*/, View /*destination*/, int /*slot*/, Stream& /*stream*/) {}

  /// This rank's own part, which needs no transport.
  virtual void copy_own(ConstView source, View destination, Stream& /*stream*/) {
    if (source.bytes() > 0 && source.raw() != destination.raw()) {
      std::memcpy(destination.raw(), source.raw(), source.bytes());
    }
  }
};

}  // namespace llama_zero
