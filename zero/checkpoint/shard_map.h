// Where the values of a checkpoint lie: arithmetic on (units, states, ranks), nothing else.
//
// A checkpoint holds, for every unit of the model and every state of the optimizer ("master", "exp_avg", ...), the
// unit's fp32 values without padding. Rank r's shard file has, unit by unit and inside a unit state by state, the
// elements that UnitPartition gives rank r. It depends neither on the ZeRO stage nor on offload, so a checkpoint of any
// stage and rank count can be read at any other.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "zero/partition.h"

namespace llama_zero {

class ShardMap {
 public:
  /// `unit_numels`: elements of every unit, unpadded.
  ShardMap(std::vector<std::int64_t> unit_numels, int state_count, int ranks);

  int unit_count() const { return static_cast<int>(unit_numels_.size()); }
  int state_count() const { return state_count_; }
  int ranks() const { return ranks_; }
  std::int64_t unit_numel(int unit) const { return unit_numels_[static_cast<std::size_t>(unit)]; }
  UnitPartition partition(int unit) const { return {unit_numel(unit), ranks_}; }

  /// fp32 values in rank's file.
  std::int64_t elements(int rank) const;
  /// Index in rank's file of the first value that it has of (unit, state).
  std::int64_t offset(int unit, int state, int rank) const;

 private:
  std::vector<std::int64_t> unit_numels_;
  int state_count_;
  int ranks_;
};

}  // namespace llama_zero
