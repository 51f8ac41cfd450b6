#include <doctest/doctest.h>

#include <initializer_list>

#include "zero/partition.h"

using namespace llama_zero;

TEST_CASE("shards are equal, aligned, disjoint and cover every element of any size on any rank count") {
  for (const std::int64_t numel : {1, 63, 64, 65, 128, 509 * 7, 100003}) {
    for (int ranks = 1; ranks <= 9; ++ranks) {
      const UnitPartition partition(numel, ranks);
      CHECK(partition.shard % kShardAlignment == 0);
      CHECK(partition.padded() >= numel);
      CHECK(partition.padded() - numel < kShardAlignment * ranks + ranks);
      std::int64_t covered = 0;
      for (int rank = 0; rank < ranks; ++rank) {
        CHECK(partition.begin(rank) == rank * partition.shard);
        CHECK(partition.valid(rank) >= 0);
        CHECK(partition.valid(rank) <= partition.shard);
        covered += partition.valid(rank);
      }
      CHECK(covered == numel);
    }
  }
}

TEST_CASE("ranks beyond a small unit own padding only") {
  const UnitPartition partition(65, 4);
  CHECK(partition.shard == 64);
  CHECK(partition.valid(0) == 64);
  CHECK(partition.valid(1) == 1);
  CHECK(partition.valid(2) == 0);
  CHECK(partition.valid(3) == 0);
}
