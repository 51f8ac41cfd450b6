#include "zero/checkpoint/shard_map.h"

#include <utility>

#include "core/error.h"

namespace llama_zero {

ShardMap::ShardMap(std::vector<std::int64_t> unit_numels, int state_count, int ranks)
    : unit_numels_(std::move(unit_numels)), state_count_(state_count), ranks_(ranks) {
  require(ranks_ > 0 && state_count_ > 0 && !unit_numels_.empty(),
          "checkpoint: {} units, {} states and {} ranks make no shards", unit_numels_.size(), state_count_, ranks_);
}

std::int64_t ShardMap::elements(int rank) const { return offset(unit_count(), 0, rank); }

std::int64_t ShardMap::offset(int unit, int state, int rank) const {
  std::int64_t before = 0;
  for (int earlier = 0; earlier < unit; ++earlier) before += partition(earlier).valid(rank) * state_count_;
  return state == 0 ? before : before + partition(unit).valid(rank) * state;
}

}  // namespace llama_zero
