#include "zero/weight_transfer.h"

namespace llama_zero {

WeightTransfer::WeightTransfer(const RankContext& context, DType dtype, std::int64_t tile, HostMemory memory)
    : context_(context), order_(context.device.create_event()), begun_(context.device.create_event()) {
  for (Buffer& buffer : buffers_) {
    buffer.memory = context.host.allocate("host optimizer", dtype, tile, memory);
    buffer.sent = context.device.create_event();
  }
}

// Gathers that were begun ahead read the weights on the communication stream.
void WeightTransfer::begin(Stream& compute) {
  for (Stream* before : {&compute, &context_.communication}) order_streams(*order_, *before, context_.upload);
  begun_->record(compute);
}

void WeightTransfer::wait_for_begin() { begun_->synchronize(); }

View WeightTransfer::buffer(std::int64_t count) {
  Buffer& buffer = buffers_[++turn_ % buffers_.size()];
  buffer.sent->synchronize();
  return buffer.memory.slice(0, count);
}

void WeightTransfer::send_up(ConstView weights, View destination) {
  context_.communicator.host_copy("copy_to_device", context_.device, weights, destination, context_.upload);
  buffers_[turn_ % buffers_.size()].sent->record(context_.upload);
}

void WeightTransfer::finish(Stream& compute) {
  order_->record(context_.upload);
  context_.communicator.wait("copy_to_device", *order_, compute);
}

}  // namespace llama_zero
