#include "zero/shard_squares.h"

#include <algorithm>

namespace llama_zero {

ShardSquares::ShardSquares(const RankContext& context) : context_(context), first_group_{0} {
  for (int unit = 0; unit < context.layout.unit_count(); ++unit) {
    first_group_.push_back(first_group_.back() + (context.layout[unit].shard + kGroup - 1) / kGroup);
  }
  groups_ = context.arena.allocate("step state", DType::kF64, 2 * first_group_.back());
  host_ = std::make_unique<HostBuffer>(context.device, groups_.bytes() + 2 * sizeof(double));
}

void ShardSquares::take(int unit, ConstView shard, Stream& compute) {
  std::int64_t group = first_group_[static_cast<std::size_t>(unit)];
  for (std::int64_t begin = 0; begin < shard.numel(); begin += kGroup, ++group) {
    const std::int64_t count = std::min(kGroup, shard.numel() - begin);
    context_.ops.sum_of_squares({shard.slice(begin, count), groups_.slice(2 * group, 2), false}, compute);
  }
}

void ShardSquares::add_up(View result, Stream& compute) {
  const View groups(host_->data(), groups_.numel(), DType::kF64);
  context_.device.copy(groups_, groups, compute);
  compute.synchronize();
  const View total(host_->data() + groups.bytes(), 2, DType::kF64);
  double* sums = total.as<double>();
  sums[0] = sums[1] = 0.0;
  const double* values = groups.as<double>();
  for (std::int64_t i = 0; i < groups.numel(); i += 2) {
    sums[0] += values[i];
    sums[1] += values[i + 1];
  }
  context_.device.copy(total, result, compute);
}

}  // namespace llama_zero
