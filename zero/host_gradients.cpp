#include "zero/host_gradients.h"

#include <algorithm>

namespace llama_zero {
namespace {

constexpr std::int64_t kTile = std::int64_t{1} << 23U;  // elements that an upload follows a download by

std::size_t index(int unit) { return static_cast<std::size_t>(unit); }

}  // namespace

HostGradients::HostGradients(const RankContext& context, DType dtype, const OffloadPlan& plan)
    : context_(context),
      squares_(context),
      written_(context.device.create_event()),
      finished_(context.device.create_event()) {
  for (int unit = 0; unit < context.layout.unit_count(); ++unit) {
    View shard;
    if (plan.on_host[index(unit)]) {
      shard = context.host.allocate("host gradients", dtype, context.layout[unit].shard, plan.memory,
                                    touch_by_tiles(plan, dtype));
    }
    shards_.push_back(shard);
    complete_.push_back(context.device.create_event());
  }
}

void HostGradients::after(Stream& writer) { order_streams(*written_, writer, context_.download); }

void HostGradients::download(int unit, std::int64_t begin, ConstView values) {
  context_.communicator.host_copy("copy_to_host", context_.device, values, shard(unit).slice(begin, values.numel()),
                                  context_.download);
}

void HostGradients::upload(int unit, std::int64_t begin, View destination) {
  complete_[index(unit)]->wait(context_.upload);
  context_.communicator.host_copy("copy_to_device", context_.device, shard(unit).slice(begin, destination.numel()),
                                  destination, context_.upload);
}

void HostGradients::mark_complete(int unit) { complete_[index(unit)]->record(context_.download); }

void HostGradients::finish(Stream& compute) {
  finished_->record(context_.download);
  context_.communicator.wait("copy_to_host", *finished_, compute);
}

GradientSlots::GradientSlots(const RankContext& context, HostGradients& host, DType dtype, int slots,
                             std::int64_t elements, int users)
    : context_(context), host_(host), users_(users), closed_(index(context.layout.unit_count()), 0) {
  for (int i = 0; i < slots; ++i) {
    Slot& slot = slots_.emplace_back();
    slot.memory = context.arena.allocate("gradients in flight", dtype, elements);
    for (std::unique_ptr<Event>* event : {&slot.written, &slot.squared, &slot.uploaded, &slot.downloaded}) {
      *event = context.device.create_event();
    }
    for (std::int64_t begin = 0; begin < elements; begin += kTile) slot.tiles.push_back(context.device.create_event());
  }
}

void GradientSlots::begin_step(int passes) {
  passes_ = passes;
  opened_ = 0;
  order_.clear();
  std::fill(closed_.begin(), closed_.end(), 0);
  for (Slot& slot : slots_) slot.loaded = -1;
}

View GradientSlots::open(int unit, bool accumulate, Stream& writer) {
  opened_ += 1;
  if (closed_[index(unit)] == 0) order_.push_back(unit);
  require(std::ssize(order_) <= users_, "gradients: {} units pass through slots for {}", order_.size(), users_);
  Slot& slot = current();
  slot.downloaded->wait(writer);
  require(slot.unsquared < 0, "gradients: the shard of unit {} is overwritten before its squares are taken",
          slot.unsquared);
  slot.squared->wait(writer);
  slot.shard = slot.memory.slice(0, context_.layout[unit].shard);
  if (accumulate) {
    if (slot.loaded != unit) send_up(slot, unit);
    context_.communicator.wait("copy_to_device", *slot.uploaded, writer);
  }
  slot.loaded = -1;
  return slot.shard;
}

void GradientSlots::close(int unit, bool last, Stream& writer) {
  Slot& slot = current();
  slot.written->record(writer);
  slot.written->wait(context_.download);
  closed_[index(unit)] += 1;
  slot.next = next_user();
  if (last) slot.unsquared = unit;
  send_down(slot, unit);
  if (!last && slot.next >= 0) send_up(slot, slot.next);
}

void GradientSlots::settle(Stream& compute) {
  for (Slot& slot : slots_) {
    if (slot.unsquared < 0) continue;
    slot.written->wait(compute);
    host_.squares().take(slot.unsquared, slot.shard, compute);
    slot.squared->record(compute);
    slot.unsquared = -1;
    context_.arena.poison(slot.shard);
    if (slot.next >= 0) send_up(slot, slot.next);
  }
}

/// The unit that will be opened in the slot opened last, if that will be to accumulate onto a sum of which all has been
/// given to the download stream; else -1.
int GradientSlots::next_user() const {
  const std::int64_t next = opened_ - 1 + std::ssize(slots_);
  const std::int64_t pass = next / users_;
  if (pass == 0 || pass >= passes_) return -1;
  const int unit = order_[static_cast<std::size_t>(next % users_)];
  return closed_[index(unit)] == pass ? unit : -1;
}

void GradientSlots::send_down(Slot& slot, int unit) {
  for (std::int64_t begin = 0; begin < slot.shard.numel(); begin += kTile) {
    const View tile = slot.shard.slice(begin, std::min(kTile, slot.shard.numel() - begin));
    host_.download(unit, begin, tile);
    slot.tiles[static_cast<std::size_t>(begin / kTile)]->record(context_.download);
    if (slot.unsquared < 0) context_.arena.poison(tile);
  }
  slot.downloaded->record(context_.download);
  host_.mark_complete(unit);
}

/// Follows the download of what was in the slot tile by tile.
void GradientSlots::send_up(Slot& slot, int unit) {
  const View shard = slot.memory.slice(0, context_.layout[unit].shard);
  slot.squared->wait(context_.upload);
  for (std::int64_t begin = 0; begin < shard.numel(); begin += kTile) {
    slot.tiles[static_cast<std::size_t>(begin / kTile)]->wait(context_.upload);
    host_.upload(unit, begin, shard.slice(begin, std::min(kTile, shard.numel() - begin)));
  }
  slot.uploaded->record(context_.upload);
  slot.loaded = unit;
}

}  // namespace llama_zero
