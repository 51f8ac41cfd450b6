#include "zero/param_store.h"

namespace llama_zero {
namespace {

std::size_t index(int unit) { return static_cast<std::size_t>(unit); }

void require_unit(const Layout& layout, int unit) {
  require(unit >= 0 && unit < layout.unit_count(), "parameters: unit {} of {}", unit, layout.unit_count());
}

void require_acquired(int count, int unit) {
  require(count > 0, "parameters: unit {} is released but was not acquired", unit);
}

}  // namespace

ReplicatedParamStore::ReplicatedParamStore(const RankContext& context, DType dtype, bool sharded_update)
    : context_(context), sharded_update_(sharded_update) {
  for (int unit = 0; unit < context.layout.unit_count(); ++unit) {
    units_.push_back(allocate_zeros(context, "weights", dtype, context.layout[unit].padded()));
  }
  acquired_.assign(units_.size(), 0);
}

ConstView ReplicatedParamStore::acquire(int unit, Stream&) {
  require_unit(context_.layout, unit);
  acquired_[index(unit)] += 1;
  return units_[index(unit)];
}

void ReplicatedParamStore::release(int unit, Stream&) {
  require_unit(context_.layout, unit);
  require_acquired(acquired_[index(unit)], unit);
  acquired_[index(unit)] -= 1;
}

View ReplicatedParamStore::own(int unit) {
  require_unit(context_.layout, unit);
  const View whole = units_[index(unit)];
  return sharded_update_ ? whole.slice(context_.layout.own_begin(unit), context_.layout[unit].shard) : whole;
}

void ReplicatedParamStore::publish(Stream& stream) {
  for (int unit = 0; unit < context_.layout.unit_count(); ++unit) {
    require(acquired_[index(unit)] == 0, "parameters: unit {} is acquired while the weights change", unit);
    if (sharded_update_ && context_.ranks() > 1)
      context_.communicator.all_gather(own(unit), units_[index(unit)], stream);
  }
}

std::vector<bool> persistent_units(const ParamTable& table, std::int64_t threshold) {
  std::vector<bool> persistent;
  for (const Unit& unit : table.units()) {
    bool small = true;
    for (const int param : unit.params) small = small && table.params()[index(param)].numel() <= threshold;
    persistent.push_back(small);
  }
  return persistent;
}

LeasedParamStore::LeasedParamStore(const RankContext& context, const ParamTable& table, DType dtype,
                                   const LeaseOptions& options)
    : LeasedParamStore(context, persistent_units(table, options.param_persistence_threshold), dtype,
                       options.prefetch_bucket_size) {}

LeasedParamStore::LeasedParamStore(const RankContext& context, const std::vector<bool>& persistent, DType dtype,
                                   std::int64_t prefetch_bucket_size)
    : context_(context),
      prefetch_bucket_size_(prefetch_bucket_size),
      persistent_(persistent),
      updated_(context.device.create_event()) {
  require(index(context.layout.unit_count()) == persistent.size(), "parameters: {} units, {} persistence flags",
          context.layout.unit_count(), persistent.size());
  require(prefetch_bucket_size >= 0, "parameters: prefetch bucket of {} elements", prefetch_bucket_size);
  allocate(dtype);
  allocate_slots(dtype);
}

void LeasedParamStore::allocate(DType dtype) {
  const Layout& layout = context_.layout;
  for (int unit = 0; unit < layout.unit_count(); ++unit) {
    shards_.push_back(allocate_zeros(context_, "weights", dtype, layout[unit].shard));
  }
  for (int unit = 0; unit < layout.unit_count(); ++unit) {
    View whole;
    if (context_.ranks() == 1) {
      whole = shards_[index(unit)];
    } else if (persistent_[index(unit)]) {
      whole = allocate_zeros(context_, "leases", dtype, layout[unit].padded());
      gathered_ += layout[unit].numel;
    }
    resident_.push_back(whole);
  }
  resident_acquired_.assign(resident_.size(), 0);
  gathered_peak_ = gathered_;
}

void LeasedParamStore::allocate_slots(DType dtype) {
  std::int64_t largest = 0;
  std::int64_t leased_units = 0;
  for (int unit = 0; unit < context_.layout.unit_count(); ++unit) {
    if (is_resident(unit)) continue;
    largest = std::max(largest, context_.layout[unit].padded());
    leased_units += 1;
  }
  if (leased_units == 0) return;
  const std::int64_t ahead =
      prefetch_bucket_size_ == 0 ? 0 : std::max<std::int64_t>(1, prefetch_bucket_size_ / largest);
  const std::int64_t count = std::min(leased_units, std::max<std::int64_t>(2, 1 + ahead));
  for (std::int64_t i = 0; i < count; ++i) {
    Slot slot;
    slot.memory = context_.arena.allocate("leases", dtype, largest);
    slot.ready = context_.device.create_event();
    slot.released = context_.device.create_event();
    slots_.push_back(std::move(slot));
  }
}

LeasedParamStore::Slot* LeasedParamStore::find(int unit) {
  for (Slot& slot : slots_) {
    if (slot.unit == unit) return &slot;
  }
  return nullptr;
}

LeasedParamStore::Slot* LeasedParamStore::free_slot() { return find(-1); }

// A unit that is needed now goes before one that was only prefetched.
LeasedParamStore::Slot& LeasedParamStore::slot_for(int unit) {
  if (Slot* slot = free_slot()) return *slot;
  for (Slot& slot : slots_) {
    if (slot.acquired > 0) continue;
    drop(slot);
    return slot;
  }
  fail("parameters: unit {} is acquired while {} other units are still held", unit, slots_.size());
}

void LeasedParamStore::gather(Slot& slot, int unit) {
  const UnitPartition& partition = context_.layout[unit];
  slot.released->wait(context_.communication);
  context_.communicator.all_gather(shards_[index(unit)], slot.memory.slice(0, partition.padded()),
                                   context_.communication);
  slot.ready->record(context_.communication);
  slot.unit = unit;
  slot.acquired = 0;
  gathered_ += partition.numel;
  gathered_peak_ = std::max(gathered_peak_, gathered_);
}

void LeasedParamStore::drop(Slot& slot) {
  gathered_ -= context_.layout[slot.unit].numel;
  slot.unit = -1;
  context_.arena.poison(slot.memory);
}

std::int64_t LeasedParamStore::prefetched_elements() const {
  std::int64_t elements = 0;
  for (const Slot& slot : slots_) {
    if (slot.unit >= 0 && slot.acquired == 0) elements += context_.layout[slot.unit].numel;
  }
  return elements;
}

void LeasedParamStore::prefetch(int unit) {
  require_unit(context_.layout, unit);
  const int direction = unit < last_prefetch_ ? -1 : 1;
  last_prefetch_ = unit;
  for (int next = unit; next >= 0 && next < context_.layout.unit_count(); next += direction) {
    if (is_resident(next) || find(next) != nullptr) continue;
    Slot* slot = free_slot();
    if (slot == nullptr || prefetched_elements() >= prefetch_bucket_size_) return;
    gather(*slot, next);
  }
}

ConstView LeasedParamStore::acquire(int unit, Stream& stream) {
  require_unit(context_.layout, unit);
  if (is_resident(unit)) {
    resident_acquired_[index(unit)] += 1;
    return resident_[index(unit)];
  }
  Slot* slot = find(unit);
  if (slot == nullptr) {
    slot = &slot_for(unit);
    gather(*slot, unit);
  }
  slot->acquired += 1;
  context_.communicator.wait("all_gather", *slot->ready, stream);
  return slot->memory.slice(0, context_.layout[unit].padded());
}

void LeasedParamStore::release(int unit, Stream& stream) {
  require_unit(context_.layout, unit);
  if (is_resident(unit)) {
    require_acquired(resident_acquired_[index(unit)], unit);
    resident_acquired_[index(unit)] -= 1;
    return;
  }
  Slot* slot = find(unit);
  require_acquired(slot == nullptr ? 0 : slot->acquired, unit);
  slot->acquired -= 1;
  if (slot->acquired > 0) return;
  slot->released->record(stream);
  drop(*slot);
}

View LeasedParamStore::own(int unit) {
  require_unit(context_.layout, unit);
  return shards_[index(unit)];
}

void LeasedParamStore::publish(Stream& stream) {
  for (Slot& slot : slots_) {
    require(slot.acquired == 0, "parameters: unit {} is acquired while the weights change", slot.unit);
    if (slot.unit >= 0) drop(slot);
  }
  order_streams(*updated_, stream, context_.communication);
  if (context_.ranks() > 1) {
    for (int unit = 0; unit < context_.layout.unit_count(); ++unit) {
      if (!is_resident(unit)) continue;
      require(resident_acquired_[index(unit)] == 0, "parameters: unit {} is acquired while the weights change", unit);
      context_.communicator.all_gather(shards_[index(unit)], resident_[index(unit)], context_.communication);
    }
  }
  updated_->record(context_.communication);
  context_.communicator.wait("all_gather", *updated_, stream);
}

}  // namespace llama_zero
