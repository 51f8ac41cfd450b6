#include <doctest/doctest.h>

#include <cmath>

#include "core/rng.h"

using namespace llama_zero;

TEST_CASE("Philox4x32-10 gives the known answers of the Random123 distribution") {
  // kat_vectors of Random123: counter and key all zero, all ones, and digits of pi.
  CHECK(philox4x32({0, 0, 0, 0}, {0, 0}) ==
        std::array<std::uint32_t, 4>{0x6627e8d5U, 0xe169c58dU, 0xbc57ac4cU, 0x9b00dbd8U});
  CHECK(philox4x32({0xffffffffU, 0xffffffffU, 0xffffffffU, 0xffffffffU}, {0xffffffffU, 0xffffffffU}) ==
        std::array<std::uint32_t, 4>{0x408f276dU, 0x41c83b0eU, 0xa20bc7c6U, 0x6d5451fdU});
  CHECK(philox4x32({0x243f6a88U, 0x85a308d3U, 0x13198a2eU, 0x03707344U}, {0xa4093822U, 0x299f31d0U}) ==
        std::array<std::uint32_t, 4>{0xd16cfe09U, 0x94fdccebU, 0x5001e420U, 0x24126ea1U});
}

TEST_CASE("a value depends on seed, stream and index alone, and differs between them") {
  const CounterRng rng(42, stream_id("a"));
  CHECK(rng.bits(7) == CounterRng(42, stream_id("a")).bits(7));
  CHECK(rng.bits(7) != rng.bits(8));
  CHECK(rng.bits(7) != CounterRng(43, stream_id("a")).bits(7));
  CHECK(rng.bits(7) != CounterRng(42, stream_id("b")).bits(7));
}

TEST_CASE("normal values have the moments of the standard normal distribution") {
  const CounterRng rng(1, 2);
  constexpr int kCount = 200000;
  double sum = 0.0;
  double squares = 0.0;
  double fourths = 0.0;
  for (int i = 0; i < kCount; ++i) {
    const double x = rng.normal(static_cast<std::uint64_t>(i));
    REQUIRE(std::isfinite(x));
    sum += x;
    squares += x * x;
    fourths += x * x * x * x;
  }
  const double sigma = 1.0 / std::sqrt(kCount);  // of the mean; 4.9 sigma: one false alarm in a million
  CHECK(std::abs(sum / kCount) < 4.9 * sigma);
  CHECK(std::abs(squares / kCount - 1.0) < 4.9 * sigma * std::sqrt(2.0));
  CHECK(std::abs(fourths / kCount - 3.0) < 4.9 * sigma * std::sqrt(96.0));
}

TEST_CASE("below() covers its range evenly and stays inside") {
  const CounterRng rng(5, 6);
  std::array<int, 7> hits{};
  constexpr int kCount = 70000;
  for (int i = 0; i < kCount; ++i) {
    const auto value = rng.below(static_cast<std::uint64_t>(i), hits.size());
    REQUIRE(value < hits.size());
    hits[value] += 1;
  }
  for (const int hit : hits) CHECK(std::abs(hit - 10000) < 500);  // 5.4 sigma of a binomial with p = 1/7
}
