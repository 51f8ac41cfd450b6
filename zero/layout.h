// The partition of every unit of a model over the ranks of the data-parallel group.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "model/param_table.h"
#include "zero/partition.h"

namespace llama_zero {

class Layout {
 public:
  Layout(const ParamTable& table, int ranks, int rank) : rank_(rank) {
    for (const Unit& unit : table.units()) units_.emplace_back(unit.numel, ranks);
  }
  /// For tests: units of the given sizes.
  Layout(const std::vector<std::int64_t>& numels, int ranks, int rank) : rank_(rank) {
    for (const std::int64_t numel : numels) units_.emplace_back(numel, ranks);
  }

  int unit_count() const { return static_cast<int>(units_.size()); }
  int rank() const { return rank_; }
  int ranks() const { return units_.front().ranks; }
  const UnitPartition& operator[](int unit) const { return units_[static_cast<std::size_t>(unit)]; }
  /// First element of this rank's shard of `unit`.
  std::int64_t own_begin(int unit) const { return (*this)[unit].begin(rank_); }

 private:
  std::vector<UnitPartition> units_;
  int rank_;
};

}  // namespace llama_zero
