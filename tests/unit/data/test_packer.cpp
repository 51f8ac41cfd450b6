#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

#include "data/packer.h"
#include "data_fixtures.h"

namespace llama_zero {
namespace {

std::vector<std::int64_t> lengths_of(std::int64_t count) {
  std::vector<std::int64_t> lengths;
  for (const test::RowShape& row : test::realistic_rows(count)) lengths.push_back(row.tokens);
  return lengths;
}

std::int64_t tokens_of(const std::vector<std::int64_t>& lengths, const Bin& bin) {
  std::int64_t tokens = 0;
  for (const std::int64_t row : bin) tokens += lengths[static_cast<std::size_t>(row)];
  return tokens;
}

Bin all_rows(const std::vector<Bin>& bins) {
  Bin rows;
  for (const Bin& bin : bins) rows.insert(rows.end(), bin.begin(), bin.end());
  std::sort(rows.begin(), rows.end());
  return rows;
}

Bin iota(std::size_t count) {
  Bin rows(count);
  std::iota(rows.begin(), rows.end(), 0);
  return rows;
}

}  // namespace

TEST_CASE("dealing gives every row to one rank, none more than its share of rows, with even tokens") {
  for (const std::int64_t count : {1, 3, 24, 32, 200, 1500}) {
    const auto lengths = lengths_of(count);
    const std::int64_t total = std::accumulate(lengths.begin(), lengths.end(), std::int64_t{0});
    for (const int ranks : {1, 2, 3, 4, 8}) {
      CAPTURE(count);
      CAPTURE(ranks);
      const auto dealt = deal_rows(lengths, ranks, 256);
      REQUIRE(dealt.size() == static_cast<std::size_t>(ranks));
      CHECK(all_rows(dealt) == iota(lengths.size()));
      for (const Bin& bin : dealt) {
        CHECK(static_cast<std::int64_t>(bin.size()) <= (count + ranks - 1) / ranks);
        // Longest first ends within one row of the even share; shares are whole steps of the alignment.
        CHECK(tokens_of(lengths, bin) <= total / ranks + 512 + 256);
      }
    }
  }
}

TEST_CASE("dealing fills whole steps of the alignment where rows allow it") {
  // 768 tokens are 3 steps. Longest first makes {328, 156} and {184, 100}: 4 steps; {328, 184} and {156, 100} are 3.
  const std::vector<std::int64_t> lengths = {328, 184, 156, 100};
  std::int64_t aligned = 0;
  for (const Bin& bin : deal_rows(lengths, 2, 256)) aligned += round_up(tokens_of(lengths, bin), 256);
  CHECK(aligned == 768);
}

TEST_CASE("padding is gathered until a whole step can be saved") {
  // Eight bins of about 1,100 tokens: the best there can be is the padding of one bin.
  const auto lengths = lengths_of(64);
  const std::int64_t total = std::accumulate(lengths.begin(), lengths.end(), std::int64_t{0});
  std::int64_t aligned = 0;
  for (const Bin& bin : deal_rows(lengths, 8, 256)) aligned += round_up(tokens_of(lengths, bin), 256);
  CHECK(aligned == round_up(total, 256));
}

TEST_CASE("packing keeps every row, the limit and the bound on passes") {
  for (const std::int64_t count : {1, 5, 32, 300, 1500}) {
    const auto lengths = lengths_of(count);
    const std::int64_t total = std::accumulate(lengths.begin(), lengths.end(), std::int64_t{0});
    for (const std::int64_t limit : {512, 1024, 4096}) {
      CAPTURE(count);
      CAPTURE(limit);
      const auto passes = pack_rows(lengths, iota(lengths.size()), limit, 256);
      CHECK(all_rows(passes) == iota(lengths.size()));
      for (const Bin& pass : passes) {
        CHECK_FALSE(pass.empty());
        CHECK(tokens_of(lengths, pass) <= limit);
      }
      if (passes.size() > 1) CHECK(static_cast<std::int64_t>(passes.size()) * limit < 2 * total);
    }
  }
}

TEST_CASE("swaps between passes save what first-fit decreasing wastes") {
  // First fit makes {400, 390} and {300}: 1024 + 512. With 390 and 300 exchanged: 768 + 512.
  const std::vector<std::int64_t> lengths = {400, 390, 300};
  std::int64_t aligned = 0;
  for (const Bin& pass : pack_rows(lengths, iota(3), 1024, 256)) aligned += round_up(tokens_of(lengths, pass), 256);
  CHECK(aligned == 1280);
}

TEST_CASE("no rows make no pass") { CHECK(pack_rows({}, {}, 512, 256).empty()); }

}  // namespace llama_zero
