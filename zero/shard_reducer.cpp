#include "zero/shard_reducer.h"

#include <algorithm>

namespace llama_zero {
namespace {

std::int64_t largest_shard(const Layout& layout) {
  std::int64_t largest = 0;
  for (int unit = 0; unit < layout.unit_count(); ++unit) largest = std::max(largest, layout[unit].shard);
  return largest;
}

}  // namespace

ShardReducer::ShardReducer(const RankContext& context, DType dtype, std::int64_t reduce_bucket_size,
                           const GradientAveraging& averaging)
    : context_(context), factors_(factors_of(averaging, context.ranks())), round_sum_(averaging.round_sum) {
  require(reduce_bucket_size > 0, "gradients: reduce bucket of {} elements", reduce_bucket_size);
  if (context.ranks() == 1) return;
  const std::int64_t share = reduce_bucket_size / context.ranks() / kShardAlignment * kShardAlignment;
  piece_ = std::min(largest_shard(context.layout), std::max(kShardAlignment, share));
  const DType wire = averaging.wire.value_or(dtype);
  received_ = context.arena.allocate("buckets", wire, piece_ * context.ranks());
  if (wire == dtype && factors_.before == 1.0) return;
  outgoing_ = context.arena.allocate("buckets", wire, piece_ * context.ranks());
}

void ShardReducer::reduce(int unit, ConstView whole, View shard, bool accumulate, Stream& stream) {
  const std::int64_t size = context_.layout[unit].shard;
  if (context_.ranks() == 1) {
    if (whole.raw() != shard.raw()) context_.ops.reduce_pieces({1, whole, 1.0, shard, accumulate}, stream);
    return;
  }
  for (std::int64_t begin = 0; begin < size; begin += piece_) {
    const std::int64_t count = std::min(piece_, size - begin);
    const View received = received_.slice(0, count * context_.ranks());
    exchange(size, whole, begin, received, stream);
    sum(received, shard.slice(begin, count), accumulate, stream);
  }
}

/// Elements [begin, begin + count) of every rank's piece of `whole`, whose pieces have `size` elements.
void ShardReducer::exchange(std::int64_t size, ConstView whole, std::int64_t begin, View received, Stream& stream) {
  const std::int64_t count = received.numel() / context_.ranks();
  if (!outgoing_) {
    context_.communicator.all_to_all(whole, PieceRange{size, begin, count}, received, stream);
    return;
  }
  const View outgoing = outgoing_.slice(0, received.numel());
  for (std::int64_t rank = 0; rank < context_.ranks(); ++rank) {
    context_.ops.cast({whole.slice(rank * size + begin, count), outgoing.slice(rank * count, count), factors_.before},
                      stream);
  }
  context_.communicator.all_to_all(outgoing, received, stream);
}

void ShardReducer::sum(View received, View shard, bool accumulate, Stream& stream) {
  if (!round_sum_) {
    context_.ops.reduce_pieces({context_.ranks(), received, factors_.after, shard, accumulate}, stream);
    return;
  }
  const View total = received.slice(0, shard.numel());
  context_.ops.reduce_pieces({context_.ranks(), received, 1.0, total, false}, stream);
  context_.ops.reduce_pieces({1, total, factors_.after, shard, accumulate}, stream);
}

}  // namespace llama_zero
