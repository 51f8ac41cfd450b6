#include "zero/step_readback.h"

#include <cstring>

namespace llama_zero {
namespace {

constexpr auto kStateBytes = static_cast<std::int64_t>(sizeof(StepState));
static_assert(sizeof(StepState) % sizeof(double) == 0);

}  // namespace

StepReadback::StepReadback(const RankContext& context)
    : context_(context),
      own_loss_(context.arena.allocate("step state", DType::kF64, 1)),
      all_losses_(context.arena.allocate("step state", DType::kF64, context.ranks())) {
  const StepState initial;
  for (Slot& slot : slots_) {
    slot.memory = std::make_unique<HostBuffer>(
        context.device, sizeof(StepState) + static_cast<std::size_t>(context.ranks()) * sizeof(double));
    std::memcpy(slot.memory->data(), &initial, sizeof(initial));
    slot.begun = context.device.create_timing_event();
    slot.arrived = context.device.create_timing_event();
  }
}

View StepReadback::state_of(const Slot& slot) const { return {slot.memory->data(), kStateBytes, DType::kU8}; }

View StepReadback::losses_of(const Slot& slot) const {
  return {slot.memory->data() + kStateBytes, context_.ranks(), DType::kF64};
}

StepReadback::Slot& StepReadback::slot_of(std::int64_t step) {
  return slots_[static_cast<std::size_t>(step) % slots_.size()];
}

void StepReadback::begin(Stream& stream) {
  Slot& slot = slot_of(given_);
  slot.follows = taken_ < given_;
  slot.begun->record(stream);
}

void StepReadback::give(ConstView state, Stream& stream) {
  require(given_ - taken_ < 2, "engine: two steps wait to be read already");
  Slot& slot = slot_of(given_++);
  context_.communicator.all_gather(own_loss_, all_losses_, stream);
  context_.communicator.host_copy("copy_to_host", context_.device, all_losses_, losses_of(slot), stream);
  context_.communicator.host_copy("copy_to_host", context_.device, state, state_of(slot), stream);
  slot.arrived->record(stream);
}

StepReadback::Values StepReadback::take() {
  require(taken_ < given_, "engine: no step waits to be read");
  const std::int64_t step = taken_++;
  const Slot& slot = slot_of(step);
  slot.arrived->synchronize();
  Values values;
  std::memcpy(&values.state, slot.memory->data(), sizeof(StepState));
  for (const double loss : losses_of(slot).span<double>()) values.loss_sum += loss;
  const Event& since = slot.follows ? *slot_of(step + 2).arrived : *slot.begun;  // step + 2: the slot of step - 1
  values.seconds = slot.arrived->elapsed_ms(since) / 1e3;
  return values;
}

}  // namespace llama_zero
