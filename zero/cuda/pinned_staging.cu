#include "zero/cuda/pinned_staging.h"

#include "core/cuda/cuda_device.h"
#include "core/error.h"

namespace llama_zero {
namespace {

/// Page-locked bytes handed out piece by piece, and the point in a stream where the last copy of them ends.
class Region {
 public:
  Region(Device& device, std::size_t bytes) : bytes_(bytes), last_copy_(device.create_event()) {
    base_ = allocate_pinned(bytes);
  }
  ~Region() {
    try {
      last_copy_->synchronize();
    } catch (const Error&) {  // the GPU is lost: no copy is running any more
    }
    free_pinned(base_);
  }
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;

  /// Waits for the copies of the earlier pieces.
  void reset() {
    last_copy_->synchronize();
    used_ = 0;
  }
  View take(std::int64_t numel, DType dtype) {
    const View view(base_ + used_, numel, dtype);
    require(used_ + view.bytes() <= bytes_, "staging: {} bytes more than its {} are asked for", view.bytes(), bytes_);
    used_ += view.bytes();
    return view;
  }
  Event& last_copy() { return *last_copy_; }

 private:
  std::size_t bytes_;
  std::size_t used_ = 0;
  std::byte* base_ = nullptr;
  std::unique_ptr<Event> last_copy_;
};

class PinnedStaging final : public HostStaging {
 public:
  PinnedStaging(Device& device, std::size_t chunk_bytes)
      : device_(device),
        chunk_bytes_(chunk_bytes),
        outgoing_{{device, chunk_bytes}, {device, chunk_bytes}},
        incoming_{{device, chunk_bytes}, {device, chunk_bytes}} {}

  std::size_t chunk_bytes() const override { return chunk_bytes_; }

  void begin_outgoing(int slot) override { outgoing_[slot].reset(); }
  ConstView fetch(ConstView source, int slot, Stream& stream) override {
    const View host = outgoing_[slot].take(source.numel(), source.dtype());
    device_.copy(source, host, stream);
    outgoing_[slot].last_copy().record(stream);
    return host;
  }
  void wait_outgoing(int slot, Stream&) override { outgoing_[slot].last_copy().synchronize(); }

  void begin_incoming(int slot) override { incoming_[slot].reset(); }
  View open(View destination, int slot, Stream&) override {
    return incoming_[slot].take(destination.numel(), destination.dtype());
  }
  void close(View host, View destination, int slot, Stream& stream) override {
    device_.copy(host, destination, stream);
    incoming_[slot].last_copy().record(stream);
  }

  void copy_own(ConstView source, View destination, Stream& stream) override {
    if (source.raw() != destination.raw()) device_.copy(source, destination, stream);
  }

 private:
  Device& device_;
  std::size_t chunk_bytes_;
  Region outgoing_[kSlots];
  Region incoming_[kSlots];
};

}  // namespace

std::unique_ptr<HostStaging> make_pinned_staging(Device& device, std::size_t chunk_bytes) {
  require(device.type() == DeviceType::kCuda, "staging: {} is no CUDA device", device.description());
  return std::make_unique<PinnedStaging>(device, chunk_bytes);
}

}  // namespace llama_zero
