#include "model/replicated_params.h"

#include <algorithm>

namespace llama_zero {
namespace {

constexpr std::int64_t kLoadChunk = std::int64_t{1} << 22;  // elements: 16 MB of staging

}  // namespace

UnitReader initial_value_reader(const ParamTable& table, std::uint64_t seed) {
  return [&table, seed](int unit, std::int64_t begin, std::span<float> out) {
    const std::int64_t end = begin + static_cast<std::int64_t>(out.size());
    for (const int index : table.units().at(static_cast<std::size_t>(unit)).params) {
      const Param& param = table.params()[static_cast<std::size_t>(index)];
      const std::int64_t from = std::max(begin, param.offset);
      const std::int64_t to = std::min(end, param.offset + param.numel());
      if (from >= to) continue;
      initial_values(table, param, seed, from - param.offset,
                     out.subspan(static_cast<std::size_t>(from - begin), static_cast<std::size_t>(to - from)));
    }
  };
}

ReplicatedParams::ReplicatedParams(const ParamTable& table, DType dtype, Arena& arena)
    : table_(table), arena_(arena), leases_(table.units().size(), 0) {
  for (const Unit& unit : table.units()) units_.push_back(arena.allocate("weights", dtype, unit.numel));
}

void ReplicatedParams::load(const UnitReader& read, Ops& ops, Stream& stream) {
  std::int64_t largest = 0;
  for (const Unit& unit : table_.units()) largest = std::max(largest, unit.numel);
  std::vector<float> host(static_cast<std::size_t>(std::min(largest, kLoadChunk)));
  const Arena::Scope scope(arena_);
  const View staging = arena_.allocate("staging", DType::kF32, static_cast<std::int64_t>(host.size()));
  for (std::size_t index = 0; index < units_.size(); ++index) {
    const View unit = units_[index];
    for (std::int64_t begin = 0; begin < unit.numel(); begin += kLoadChunk) {
      const std::int64_t count = std::min(kLoadChunk, unit.numel() - begin);
      const std::span<float> values(host.data(), static_cast<std::size_t>(count));
      read(static_cast<int>(index), begin, values);
      arena_.device().copy(ConstView::of(std::span<const float>(values)), staging.slice(0, count), stream);
      ops.cast({staging.slice(0, count), unit.slice(begin, count), 1.0}, stream);
      stream.synchronize();  // `host` is used again
    }
  }
}

void ReplicatedParams::prefetch(int) {}

ConstView ReplicatedParams::acquire(int unit, Stream&) {
  leases_.at(static_cast<std::size_t>(unit)) += 1;
  return units_[static_cast<std::size_t>(unit)];
}

void ReplicatedParams::release(int unit, Stream&) {
  int& leases = leases_.at(static_cast<std::size_t>(unit));
  require(leases > 0, "unit '{}' is released but not acquired", table_.units()[static_cast<std::size_t>(unit)].name);
  leases -= 1;
}

}  // namespace llama_zero
