#include "zero/leased_param_store.h"

#include <algorithm>

namespace llama_zero {
namespace {

std::size_t index(int unit) { return static_cast<std::size_t>(unit); }

}  // namespace

LeasedParamStore::LeasedParamStore(const RankContext& context, const ParamTable& table, DType dtype,
                                   const LeaseOptions& options, const ParamOffload& offload)
    : LeasedParamStore(context, persistent_units(table, options), table.config().tie_word_embeddings, dtype, options,
                       offload) {}

LeasedParamStore::LeasedParamStore(const RankContext& context, const std::vector<bool>& persistent, bool tied,
                                   DType dtype, const LeaseOptions& options, const ParamOffload& offload)
    : context_(context),
      options_(options),
      persistent_(persistent),
      shards_(context, persistent, dtype, offload),
      updated_(context.device.create_event()),
      drained_(context.device.create_event()) {
  require(index(context.layout.unit_count()) == persistent.size(), "parameters: {} units, {} persistence flags",
          context.layout.unit_count(), persistent.size());
  require(options.prefetch_bucket_size >= 0, "parameters: prefetch bucket of {} elements",
          options.prefetch_bucket_size);
  allocate_residents(dtype);
  allocate_slots(dtype, options, offload.enabled ? offload.buffer_count : kNoElementLimit, tied);
}

void LeasedParamStore::allocate_residents(DType dtype) {
  const Layout& layout = context_.layout;
  for (int unit = 0; unit < layout.unit_count(); ++unit) {
    View whole;
    if (context_.ranks() == 1 && !on_host(unit)) {
      whole = shards_[unit];
    } else if (persistent_[index(unit)]) {
      whole = allocate_zeros(context_, "leases", dtype, layout[unit].padded());
      gathered_ += layout[unit].numel;
    }
    resident_.push_back(whole);
  }
  resident_acquired_.assign(resident_.size(), 0);
  gathered_peak_ = gathered_;
}

void LeasedParamStore::allocate_slots(DType dtype, const LeaseOptions& options, std::int64_t most_slots, bool tied) {
  LeaseProblem problem{context_.layout, {}, tied};
  for (int unit = 0; unit <= head(); ++unit) problem.resident.push_back(is_resident(unit));
  LeasePlan plan = plan_leases(problem, options, most_slots);
  kept_ = std::move(plan.kept);
  shared_slots_ = plan.slots;
  for (int i = 0; i < plan.slots; ++i) add_slot(-1, dtype, plan.slot_elements);
  for (int unit = 0; unit <= head(); ++unit) {
    if (kept_[index(unit)]) add_slot(unit, dtype, context_.layout[unit].padded());
  }
}

void LeasedParamStore::add_slot(int home, DType dtype, std::int64_t numel) {
  Slot& slot = slots_.emplace_back();
  slot.home = home;
  slot.memory = context_.arena.allocate("leases", dtype, numel);
  for (auto* event : {&slot.uploaded, &slot.ready, &slot.released, &slot.drained}) {
    *event = context_.device.create_event();
  }
}

LeasedParamStore::Slot* LeasedParamStore::find(int unit) {
  for (Slot& slot : slots_) {
    if (slot.unit == unit) return &slot;
  }
  return nullptr;
}

LeasedParamStore::Slot* LeasedParamStore::free_slot(int unit) {
  const int home = kept_[index(unit)] ? unit : -1;
  for (Slot& slot : slots_) {
    if (slot.unit < 0 && slot.home == home) return &slot;
  }
  return nullptr;
}

// A unit that is needed now goes before one that was only prefetched.
LeasedParamStore::Slot& LeasedParamStore::slot_for(int unit) {
  if (Slot* slot = free_slot(unit)) return *slot;
  for (Slot& slot : slots_) {
    if (slot.acquired > 0 || slot.home >= 0) continue;
    drop(slot);
    return slot;
  }
  fail("parameters: unit {} is acquired while {} other units are still held", unit, shared_slots_);
}

void LeasedParamStore::gather(Slot& slot, int unit, Stream& gathers, Stream& uploads) {
  const UnitPartition& partition = context_.layout[unit];
  const View whole = slot.memory.slice(0, partition.padded());
  View own = shards_[unit];
  if (on_host(unit)) {
    slot.released->wait(uploads);
    slot.ready->wait(uploads);  // an earlier gather into the slot that nobody used
    own = whole.slice(context_.layout.own_begin(unit), partition.shard);
    shards_.bring(unit, own, uploads);
    order_streams(*slot.uploaded, uploads, gathers);
  } else {
    slot.released->wait(gathers);
  }
  if (context_.ranks() > 1) context_.communicator.all_gather(own, whole, gathers);
  slot.ready->record(gathers);
  slot.unit = unit;
  slot.acquired = 0;
  slot.kept = false;
  gathered_ += partition.numel;
  gathered_peak_ = std::max(gathered_peak_, gathered_);
}

void LeasedParamStore::drop(Slot& slot) {
  gathered_ -= context_.layout[slot.unit].numel;
  slot.unit = -1;
  slot.kept = false;
  context_.arena.poison(slot.memory);
}

bool LeasedParamStore::may_prefetch() const {
  std::int64_t ahead = 0, live = 0;
  for (const Slot& slot : slots_) {
    if (slot.unit < 0) continue;
    live += context_.layout[slot.unit].numel;
    if (slot.acquired == 0 && !slot.kept) ahead += context_.layout[slot.unit].numel;
  }
  return ahead < options_.prefetch_bucket_size && live < options_.max_live_parameters;
}

/// Units `first` to `last` in the order of their use, as far as the limits and free slots go.
void LeasedParamStore::gather_ahead(int first, int last) {
  if (!options_.overlap) return;
  const int step = first <= last ? 1 : -1;
  for (int next = first; next != last + step; next += step) {
    if (is_resident(next) || find(next) != nullptr) continue;
    Slot* slot = free_slot(next);
    if (slot == nullptr || !may_prefetch()) return;
    gather(*slot, next, context_.communication, context_.upload);
  }
}

void LeasedParamStore::prefetch(int unit) {
  require(unit >= 0 && unit <= head(), "parameters: unit {} of {}", unit, context_.layout.unit_count());
  // The table of tied embeddings is wanted out of order; the backward pass ends with the first block.
  gather_ahead(unit, unit == 0 ? 0 : (backward_ ? 1 : head()));
}

// What evaluation kept for a backward pass that did not come is not needed by the next forward.
void LeasedParamStore::note_use(int unit) {
  if (unit == head()) {
    backward_ = true;
  } else if (unit == 0 && head_acquired_ == 0) {
    backward_ = false;
    for (Slot& slot : slots_) {
      if (slot.kept) drop(slot);
    }
  }
}

ConstView LeasedParamStore::acquire(int unit, Stream& stream) {
  require(unit >= 0 && unit <= head(), "parameters: unit {} of {}", unit, context_.layout.unit_count());
  note_use(unit);
  if (is_resident(unit)) {
    resident_acquired_[index(unit)] += 1;
    head_acquired_ += unit == head() ? 1 : 0;
    return resident_[index(unit)];
  }
  Slot* slot = find(unit);
  if (slot == nullptr) {
    slot = &slot_for(unit);
    gather(*slot, unit, options_.overlap ? context_.communication : stream,
           options_.overlap ? context_.upload : stream);
  }
  slot->acquired += 1;
  slot->kept = false;
  head_acquired_ += unit == head() ? 1 : 0;
  if (backward_ && unit == 1 && another_pass_) gather_ahead(0, head());
  context_.communicator.wait(context_.ranks() > 1 ? "all_gather" : "copy_to_device", *slot->ready, stream);
  return slot->memory.slice(0, context_.layout[unit].padded());
}

void LeasedParamStore::release(int unit, Stream& stream) {
  require(unit >= 0 && unit <= head(), "parameters: unit {} of {}", unit, context_.layout.unit_count());
  Slot* slot = find(unit);
  int& acquired = is_resident(unit) || slot == nullptr ? resident_acquired_[index(unit)] : slot->acquired;
  require(acquired > 0, "parameters: unit {} is released but was not acquired", unit);
  acquired -= 1;
  head_acquired_ -= unit == head() ? 1 : 0;
  if (is_resident(unit) || acquired > 0) return;
  slot->released->record(stream);
  slot->kept = !backward_ && kept_[index(unit)];
  if (!slot->kept) drop(*slot);
}

View LeasedParamStore::own(int unit) {
  require(unit >= 0 && unit <= head(), "parameters: unit {} of {}", unit, context_.layout.unit_count());
  return shards_[unit];
}

// No unit is acquired during an update: the slots are there to be used.
LeasedParamStore::Slot& LeasedParamStore::target_slot(int unit) {
  if (!kept_[index(unit)]) return slots_[index(unit % shared_slots_)];
  return *std::ranges::find(slots_, unit, &Slot::home);
}

View LeasedParamStore::begin_update(int unit, Stream& stream) {
  if (!on_host(unit)) return own(unit);
  Slot& slot = target_slot(unit);
  require(slot.acquired == 0, "parameters: unit {} is acquired while the weights change", slot.unit);
  if (slot.unit >= 0) drop(slot);
  slot.ready->wait(stream);
  slot.drained->wait(stream);
  return slot.memory.slice(0, context_.layout[unit].shard);
}

void LeasedParamStore::end_update(int unit, Stream& stream) {
  if (!on_host(unit)) return;
  Slot& slot = target_slot(unit);
  Stream& downloads = options_.overlap ? context_.download : stream;
  order_streams(*slot.uploaded, stream, downloads);
  shards_.take(unit, slot.memory.slice(0, context_.layout[unit].shard), downloads);
  slot.drained->record(downloads);
}

void LeasedParamStore::publish(Stream& stream) {
  for (Slot& slot : slots_) {
    require(slot.acquired == 0, "parameters: unit {} is acquired while the weights change", slot.unit);
    if (slot.unit >= 0) drop(slot);
    context_.arena.poison(slot.memory);  // an update went through it
  }
  Stream& gathers = options_.overlap ? context_.communication : stream;
  drained_->record(context_.download);
  updated_->record(stream);
  for (Stream* reader : {&gathers, &context_.upload}) {
    drained_->wait(*reader);
    updated_->wait(*reader);
  }
  if (context_.ranks() > 1) {
    for (int unit = 0; unit <= head(); ++unit) {
      if (!is_resident(unit)) continue;
      require(resident_acquired_[index(unit)] == 0, "parameters: unit {} is acquired while the weights change", unit);
      context_.communicator.all_gather(shards_[unit], resident_[index(unit)], gathers);
    }
  }
  updated_->record(gathers);
  context_.communicator.wait("all_gather", *updated_, stream);
}

}  // namespace llama_zero
