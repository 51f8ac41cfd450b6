// Partition arithmetic: who owns what of a unit. Sharding is a function of (unit size, rank count) alone.
#pragma once

#include <cstdint>

namespace llama_zero {

/// Elements per rank are a multiple of this, so that shards start on 128-byte boundaries in 16 bits.
inline constexpr std::int64_t kShardAlignment = 64;

/// In place of a rank: what is put together of all shards goes to all of them.
inline constexpr int kEveryRank = -1;

/// Layout of one unit of `numel` elements over `ranks`: rank r owns elements [r * shard, (r + 1) * shard) of the padded
/// unit; the padding lies at the end and is always zero.
struct UnitPartition {
  std::int64_t numel = 0;
  int ranks = 1;
  std::int64_t shard = 0;  ///< elements of one rank, equal for all

  UnitPartition() = default;
  UnitPartition(std::int64_t numel_, int ranks_)
      : numel(numel_), ranks(ranks_), shard(round_up((numel_ + ranks_ - 1) / ranks_)) {}

  std::int64_t padded() const { return shard * ranks; }
  std::int64_t begin(int rank) const { return shard * rank; }
  /// Elements of rank's shard that are not padding.
  std::int64_t valid(int rank) const {
    const std::int64_t left = numel - begin(rank);
    return left < 0 ? 0 : (left < shard ? left : shard);
  }

 private:
  static std::int64_t round_up(std::int64_t n) { return (n + kShardAlignment - 1) / kShardAlignment * kShardAlignment; }
};

}  // namespace llama_zero
