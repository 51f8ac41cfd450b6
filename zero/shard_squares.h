// Squares of the own shards when they do not stay on the device: taken as the shards pass, in any order.
//
// The norm's rule (Ops::sum_of_squares) adds the sums of groups of segments in the layout's order. Here each group has
// a place of its own, and the host adds them in that order, so the result has the bits of the rule whatever the order
// in which shards came.
#pragma once

#include <memory>
#include <vector>

#include "zero/rank_context.h"

namespace llama_zero {

class ShardSquares {
 public:
  /// Label "step state": 16 bytes for each 2^20 elements of this rank's shards.
  explicit ShardSquares(const RankContext& context);

  /// `shard`: all of this rank's shard of `unit`, on the device. `compute` is the stream whose workspace the ops use.
  void take(int unit, ConstView shard, Stream& compute);
  /// result fp64 [2] on the device: sum of squares and number of elements that are not finite, of the shards taken last
  /// of every unit. Waits for `compute`.
  void add_up(View result, Stream& compute);

 private:
  static constexpr std::int64_t kGroup = kNormSegment * kNormGroup;

  const RankContext& context_;
  std::vector<std::int64_t> first_group_;  ///< by unit, and the number of all
  View groups_;
  std::unique_ptr<HostBuffer> host_;  ///< the groups, and the result
};

}  // namespace llama_zero
