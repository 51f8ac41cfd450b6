// cpu_checkpointing's copies, as the communicator's observers see them: "copy_activations_to_host" and
// "copy_activations_to_device".
#pragma once

#include <memory>

#include "model/host_copies.h"
#include "zero/communicator.h"

namespace llama_zero {

/// On two streams of its own: gradients, weights and states have theirs.
class ActivationCopies final : public HostCopies {
 public:
  /// Both must outlive the object.
  ActivationCopies(Device& device, Communicator& communicator)
      : device_(device),
        communicator_(communicator),
        down_(device.create_stream("activations down")),
        up_(device.create_stream("activations up")) {}

  Stream& stream(CopyWay way) override { return way == CopyWay::kToHost ? *down_ : *up_; }
  void copy(CopyWay way, ConstView source, View destination) override {
    communicator_.host_copy(name_of(way), device_, source, destination, stream(way));
  }
  void wait(CopyWay way, Event& event, Stream& compute) override { communicator_.wait(name_of(way), event, compute); }

 private:
  static std::string_view name_of(CopyWay way) {
    return way == CopyWay::kToHost ? "copy_activations_to_host" : "copy_activations_to_device";
  }

  Device& device_;
  Communicator& communicator_;
  std::unique_ptr<Stream> down_, up_;
};

}  // namespace llama_zero
