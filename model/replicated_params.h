// Parameters of a whole model in one place: a buffer for each unit, nothing moves. For generation, evaluation of a
// saved model and tests; training stores are in zero/.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "core/arena.h"
#include "kernels/ops.h"
#include "model/param_access.h"
#include "model/param_table.h"

namespace llama_zero {

/// Gives fp32 elements [begin, begin + out.size()) of a unit.
using UnitReader = std::function<void(int unit, std::int64_t begin, std::span<float> out)>;

/// A UnitReader of the initial values of `seed`; `table` must outlive it.
UnitReader initial_value_reader(const ParamTable& table, std::uint64_t seed);

class ReplicatedParams final : public ParamSource {
 public:
  /// Allocates all units from `arena`, label "weights"; contents are undefined until `load`.
  ReplicatedParams(const ParamTable& table, DType dtype, Arena& arena);

  /// Fills every unit from `read`, rounded to the dtype. Waits for its copies.
  void load(const UnitReader& read, Ops& ops, Stream& stream);

  /// The unit's memory, to change it.
  View unit(int index) const { return units_.at(static_cast<std::size_t>(index)); }

  void prefetch(int unit) override;
  ConstView acquire(int unit, Stream& stream) override;
  void release(int unit, Stream& stream) override;

 private:
  const ParamTable& table_;
  Arena& arena_;
  std::vector<View> units_;
  std::vector<int> leases_;
};

}  // namespace llama_zero
