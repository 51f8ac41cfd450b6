// Devices, streams and events: what the rest of the program may ask of the machine it computes on.
//
// Work on a Stream runs in the order it was given; two streams are ordered only by Events. The CPU device runs work at
// once on the calling thread, so its streams are always idle and its events always passed; code must nevertheless order
// its streams, since a CUDA device (and a CPU stream with a worker) does not forgive.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "core/view.h"

namespace llama_zero {

enum class DeviceType { kCpu, kCuda, kNull };

/// An in-order queue of work on one device.
class Stream {
 public:
  virtual ~Stream() = default;
  /// Blocks the host until all work given so far is done.
  virtual void synchronize() = 0;
  /// The backend's handle (cudaStream_t), or null.
  virtual void* handle() const { return nullptr; }
};

/// A point in a stream. `record` marks "after all work given so far"; `wait` makes later work of another stream follow
/// it.
class Event {
 public:
  virtual ~Event() = default;
  virtual void record(Stream& stream) = 0;
  virtual void wait(Stream& stream) = 0;
  /// Blocks the host until the recorded point has passed.
  virtual void synchronize() = 0;
  /// Milliseconds from the point that `earlier` recorded to this one's. Both come from create_timing_event of one
  /// device and have passed. Throws Error for other events.
  virtual double elapsed_ms(const Event& earlier) const;
};

/// Memory of one device as the driver (or the system) counts it, in bytes.
struct DeviceMemoryInfo {
  std::size_t free = 0;
  std::size_t total = 0;
};

/// Between page-locked memory and a GPU copies run at full speed while the host goes on; pageable memory makes the host
/// wait. Other devices treat both alike.
enum class HostMemory { kPinned, kPageable };

/// Host memory as a device gives it.
struct HostBlock {
  std::byte* data = nullptr;
  std::size_t bytes = 0;
  HostMemory kind = HostMemory::kPinned;  ///< what it is, which may be less than what was asked for
  bool from_driver = false;               ///< how it goes back
};

/// Writes all of some fresh host memory (u8), so that its pages lie near the threads that will work on it.
using HostTouch = std::function<void(View memory)>;

class Device {
 public:
  virtual ~Device() = default;
  virtual DeviceType type() const = 0;
  /// "CPU (AMD EPYC ..., 16 threads)" or "NVIDIA H100 80GB HBM3".
  virtual std::string description() const = 0;
  virtual DeviceMemoryInfo memory_info() const = 0;

  /// Raw memory, aligned to 256 bytes. Only Arena and tests call these. Throws Error when it cannot be had.
  virtual std::byte* allocate(std::size_t bytes) = 0;
  virtual void deallocate(std::byte* data, std::size_t bytes) noexcept = 0;

  /// Host memory, aligned to 4096 bytes, which `touch` is the first to write. What cannot be page-locked is pageable;
  /// the first time, a warning says why. Throws Error when there is no memory. Only HostBuffer, HostArena and tests
  /// call these.
  virtual HostBlock allocate_host(std::size_t bytes, HostMemory kind, const HostTouch& touch);
  virtual void deallocate_host(const HostBlock& block) noexcept;

  virtual std::unique_ptr<Stream> create_stream(const std::string& name) = 0;
  virtual std::unique_ptr<Event> create_event() = 0;
  /// An event that also takes the time; it costs more than one that only orders.
  virtual std::unique_ptr<Event> create_timing_event() = 0;
  /// Blocks the host until the work given so far to every stream of the device is done. For debugging aids and ends.
  virtual void synchronize() {}

  /// Copies between host and device memory, or within either; sizes in bytes must be equal. Host memory must stay alive
  /// and unchanged until the stream has passed the copy.
  virtual void copy(ConstView source, View destination, Stream& stream) = 0;
  /// Sets every byte.
  virtual void fill_bytes(View destination, unsigned char value, Stream& stream) = 0;
};

/// Host memory of a device, filled with zeros.
class HostBuffer {
 public:
  HostBuffer(Device& device, std::size_t bytes, HostMemory kind = HostMemory::kPinned);
  ~HostBuffer();
  HostBuffer(const HostBuffer&) = delete;
  HostBuffer& operator=(const HostBuffer&) = delete;

  std::byte* data() const { return block_.data; }
  std::size_t bytes() const { return block_.bytes; }
  HostMemory kind() const { return block_.kind; }

 private:
  Device& device_;
  HostBlock block_;
};

/// Zeros, by the calling thread.
void touch_with_zeros(View memory);

/// The host as a compute device.
std::unique_ptr<Device> make_cpu_device();

/// A device whose memory has addresses but no storage and whose work does nothing: the memory planner runs a step on
/// it. Its views must never be dereferenced.
std::unique_ptr<Device> make_null_device();

}  // namespace llama_zero
