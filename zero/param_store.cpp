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

}  // namespace llama_zero
