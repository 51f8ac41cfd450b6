// One reduction: all-to-all of shards and their sum in rank order.
#pragma once

#include <cstdint>

#include "zero/gradient_averaging.h"
#include "zero/rank_context.h"

namespace llama_zero {

/// Averages the ranks' gradients of a unit and leaves each rank its shard. Moves `bucket` elements at a time (all
/// ranks' pieces together): a bucket smaller than a unit is piece j of every rank's shard, so who owns what never
/// depends on it. Label "buckets".
class ShardReducer {
 public:
  /// With one rank nothing is allocated. `dtype`: of gradients; `reduce_bucket_size` in elements, at least one aligned
  /// piece a rank is taken.
  ShardReducer(const RankContext& context, DType dtype, std::int64_t reduce_bucket_size,
               const GradientAveraging& averaging);

  /// Collective. shard (+)= average over ranks of their `whole` [padded]; `shard` may be this rank's part of `whole`.
  /// One rank: nothing happens unless the shard lies elsewhere.
  void reduce(int unit, ConstView whole, View shard, bool accumulate, Stream& stream);

 private:
  void exchange(std::int64_t size, ConstView whole, std::int64_t begin, View received, Stream& stream);
  void sum(View received, View shard, bool accumulate, Stream& stream);

  const RankContext& context_;
  AveragingFactors factors_;
  bool round_sum_;
  std::int64_t piece_ = 0;  ///< elements of every rank's shard that move at once
  View outgoing_;           ///< wire dtype; absent when gradients travel as they are
  View received_;
};

}  // namespace llama_zero
