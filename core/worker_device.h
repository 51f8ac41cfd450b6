// The host as a device whose streams are threads: work that is given to a stream runs later, beside the caller and
// beside other streams, as on a GPU.
//
// It shows on any machine whether streams are ordered as they must be (the thread sanitizer sees a missing event) and
// what overlaps. Ops reach the threads through make_streamed_ops (kernels/streamed_ops.h), collectives through
// make_streamed_communicator (zero/streamed_communicator.h).
#pragma once

#include <functional>
#include <memory>

#include "core/device.h"

namespace llama_zero {

/// A stream of make_worker_device().
class WorkerStream : public Stream {
 public:
  /// Runs `work` after all that was given before. When work throws, what comes after it does not run, neither in this
  /// stream nor in those that wait for it by an event, and their synchronize() and the event's throw the same.
  virtual void give(std::function<void()> work) = 0;
};

/// Throws Error for a stream of another device.
WorkerStream& worker_stream(Stream& stream);

/// Memory and copies are the CPU device's.
std::unique_ptr<Device> make_worker_device();

/// Whether work goes on beside the host after it was given: false for the CPU device, whose streams have done it then.
bool works_beside_host(const Device& device);

}  // namespace llama_zero
