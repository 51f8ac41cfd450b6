#include "model/host_checkpoints.h"

#include <bit>
#include <exception>

#include "core/log.h"

namespace llama_zero {
namespace {

std::size_t turn(std::int64_t layer) { return static_cast<std::size_t>(layer % HostCheckpoints::kOnDevice); }

}  // namespace

HostCheckpoints::HostCheckpoints(HostArena& host, Device& device, std::int64_t layers, std::int64_t hidden, DType dtype)
    : host_(host),
      device_(device),
      layers_(layers),
      hidden_(hidden),
      dtype_(dtype),
      down_(device.create_stream("activations down")),
      up_(device.create_stream("activations up")),
      written_(device.create_event()),
      read_(device.create_event()) {
  for (auto* events : {&left_, &arrived_}) {
    for (std::unique_ptr<Event>& event : *events) event = device.create_event();
  }
}

HostCheckpoints::~HostCheckpoints() {
  try {
    down_->synchronize();
    up_->synchronize();
  } catch (const std::exception& error) {
    log::warning("activations on the host: {}", error.what());
  }
}

void HostCheckpoints::begin_pass(std::int64_t tokens) {
  tokens_ = tokens;
  if (layers_ <= kOnDevice || memory_.numel() >= (layers_ - kOnDevice) * tokens * hidden_) return;
  const auto room = static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(tokens)));
  memory_ = host_.allocate("host activations", dtype_, (layers_ - kOnDevice) * room * hidden_, HostMemory::kPinned);
}

void HostCheckpoints::before_forward(std::int64_t layer, Stream& compute) {
  if (leaves(layer - kOnDevice)) left_[turn(layer)]->wait(compute);
}

void HostCheckpoints::after_forward(std::int64_t layer, ConstView input, Stream& compute) {
  if (!leaves(layer)) return;
  written_->record(compute);
  written_->wait(*down_);
  device_.copy(input, waiting(layer), *down_);
  left_[turn(layer)]->record(*down_);
}

void HostCheckpoints::before_backward(std::int64_t layer, View below, Stream& compute) {
  if (leaves(layer)) arrived_[turn(layer)]->wait(compute);
  if (!leaves(layer - 1)) return;
  read_->record(compute);  // the layer above this one has read the buffer
  read_->wait(*up_);
  left_[turn(layer - 1)]->wait(*up_);
  device_.copy(waiting(layer - 1), below, *up_);
  arrived_[turn(layer - 1)]->record(*up_);
}

}  // namespace llama_zero
