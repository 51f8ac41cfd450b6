#include "model/host_checkpoints.h"

#include <bit>
#include <exception>

#include "core/log.h"

namespace llama_zero {
namespace {

std::size_t turn(std::int64_t layer) { return static_cast<std::size_t>(layer % HostCheckpoints::kOnDevice); }

}  // namespace

HostCheckpoints::HostCheckpoints(HostArena& host, HostCopies& copies, Device& device, std::int64_t layers,
                                 std::int64_t hidden, DType dtype)
    : host_(host),
      copies_(copies),
      layers_(layers),
      hidden_(hidden),
      dtype_(dtype),
      written_(device.create_event()),
      read_(device.create_event()) {
  for (auto* events : {&left_, &arrived_}) {
    for (std::unique_ptr<Event>& event : *events) event = device.create_event();
  }
}

HostCheckpoints::~HostCheckpoints() {
  try {
    for (const CopyWay way : {CopyWay::kToHost, CopyWay::kToDevice}) copies_.stream(way).synchronize();
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
  if (leaves(layer - kOnDevice)) copies_.wait(CopyWay::kToHost, *left_[turn(layer)], compute);
}

void HostCheckpoints::after_forward(std::int64_t layer, ConstView input, Stream& compute) {
  if (!leaves(layer)) return;
  written_->record(compute);
  written_->wait(copies_.stream(CopyWay::kToHost));
  copies_.copy(CopyWay::kToHost, input, waiting(layer));
  left_[turn(layer)]->record(copies_.stream(CopyWay::kToHost));
}

void HostCheckpoints::before_backward(std::int64_t layer, View below, Stream& compute) {
  if (leaves(layer)) copies_.wait(CopyWay::kToDevice, *arrived_[turn(layer)], compute);
  if (!leaves(layer - 1)) return;
  read_->record(compute);  // the layer above this one has read the buffer
  Stream& up = copies_.stream(CopyWay::kToDevice);
  read_->wait(up);
  left_[turn(layer - 1)]->wait(up);
  copies_.copy(CopyWay::kToDevice, waiting(layer - 1), below);
  arrived_[turn(layer - 1)]->record(up);
}

}  // namespace llama_zero
