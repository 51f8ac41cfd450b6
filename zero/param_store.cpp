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

ReplicatedParamStore::ReplicatedParamStore(const RankContext& context, DType dtype, bool sharded_update, bool overlap)
    : context_(context),
      sharded_update_(sharded_update),
      overlap_(overlap && sharded_update && context.ranks() > 1),
      updated_(context.device.create_event()) {
  for (int unit = 0; unit < context.layout.unit_count(); ++unit) {
    units_.push_back(allocate_zeros(context, "weights", dtype, context.layout[unit].padded()));
  }
  acquired_.assign(units_.size(), 0);
  on_their_way_.assign(units_.size(), false);
  for (std::size_t unit = 0; overlap_ && unit < units_.size(); ++unit) {
    gathered_.push_back(context.device.create_event());
  }
}

ConstView ReplicatedParamStore::acquire(int unit, Stream& stream) {
  require_unit(context_.layout, unit);
  if (on_their_way_[index(unit)]) {
    context_.communicator.wait("all_gather", *gathered_[index(unit)], stream);
    on_their_way_[index(unit)] = false;
  }
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
  if (overlap_) order_streams(*updated_, stream, context_.communication);
  for (int unit = 0; unit < context_.layout.unit_count(); ++unit) {
    require(acquired_[index(unit)] == 0, "parameters: unit {} is acquired while the weights change", unit);
    if (!sharded_update_ || context_.ranks() == 1) continue;
    context_.communicator.all_gather(own(unit), units_[index(unit)], overlap_ ? context_.communication : stream);
    if (!overlap_) continue;
    gathered_[index(unit)]->record(context_.communication);
    on_their_way_[index(unit)] = true;
  }
}

}  // namespace llama_zero
