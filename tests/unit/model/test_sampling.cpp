#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <set>
#include <vector>

#include "core/error.h"
#include "model/sampling.h"

using namespace llama_zero;

namespace {

constexpr int kDraws = 20000;

std::vector<double> frequencies(const std::vector<float>& logits, const SamplingOptions& options) {
  std::vector<double> counts(logits.size());
  for (int step = 0; step < kDraws; ++step) {
    counts[static_cast<std::size_t>(choose_token(logits, options, 3, static_cast<std::uint64_t>(step)))] +=
        1.0 / kDraws;
  }
  return counts;
}

// Probabilities 0.5, 0.3, 0.15, 0.05 in shuffled order.
const std::vector<float> kLogits{std::log(0.15F), std::log(0.5F), std::log(0.05F), std::log(0.3F)};

// Five standard deviations of a frequency.
double tolerance(double p) { return 5.0 * std::sqrt(p * (1.0 - p) / kDraws) + 1e-12; }

}  // namespace

TEST_CASE("temperature 0 takes the largest logit, the lowest id among equals") {
  CHECK(choose_token(kLogits, {}, 0, 0) == 1);
  CHECK(choose_token(std::vector<float>{1.0F, 2.0F, 2.0F, -1.0F}, {}, 0, 0) == 1);
}

TEST_CASE("temperature 1 draws by the softmax") {
  const std::vector<double> counts = frequencies(kLogits, {1.0, 1.0, 7});
  const std::vector<double> expected{0.15, 0.5, 0.05, 0.3};
  for (std::size_t i = 0; i < expected.size(); ++i) {
    INFO("token " << i << ": " << counts[i]);
    CHECK(std::abs(counts[i] - expected[i]) < tolerance(expected[i]));
  }
}

TEST_CASE("temperature 2 flattens the distribution as its square root") {
  const std::vector<double> counts = frequencies(kLogits, {2.0, 1.0, 7});
  const double total = std::sqrt(0.15) + std::sqrt(0.5) + std::sqrt(0.05) + std::sqrt(0.3);
  CHECK(std::abs(counts[1] - std::sqrt(0.5) / total) < tolerance(std::sqrt(0.5) / total));
}

TEST_CASE("top_p keeps the smallest set that reaches it, renormalised") {
  const std::vector<double> counts = frequencies(kLogits, {1.0, 0.7, 7});
  CHECK(counts[0] == 0.0);
  CHECK(counts[2] == 0.0);
  CHECK(std::abs(counts[1] - 0.5 / 0.8) < tolerance(0.5 / 0.8));
  CHECK(std::abs(counts[3] - 0.3 / 0.8) < tolerance(0.3 / 0.8));
}

TEST_CASE("a tiny top_p is greedy") {
  for (std::uint64_t step = 0; step < 100; ++step) CHECK(choose_token(kLogits, {1.0, 1e-9, 7}, 0, step) == 1);
}

TEST_CASE("choices repeat for the same seed, sequence and step and differ for others") {
  const std::vector<float> flat(1000, 0.0F);
  const SamplingOptions options{1.0, 1.0, 7};
  CHECK(choose_token(flat, options, 1, 2) == choose_token(flat, options, 1, 2));
  const std::set<std::int32_t> different{choose_token(flat, options, 1, 2), choose_token(flat, options, 1, 3),
                                         choose_token(flat, options, 2, 2), choose_token(flat, {1.0, 1.0, 8}, 1, 2)};
  CHECK(different.size() >= 3);
}

TEST_CASE("logits that are not numbers are reported") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  CHECK_THROWS_WITH_AS(choose_token(std::vector<float>{0.0F, nan}, {}, 0, 0),
                       doctest::Contains("logit 1 is not a number"), Error);
  CHECK_THROWS_AS(choose_token(std::vector<float>{0.0F, infinity}, {}, 0, 0), Error);
  CHECK_THROWS_AS(choose_token(std::vector<float>{}, {}, 0, 0), Error);
}

TEST_CASE("options outside their range are refused") {
  CHECK_THROWS_WITH_AS((SamplingOptions{-1.0, 1.0, 0}.validate()), doctest::Contains("temperature"), Error);
  CHECK_THROWS_WITH_AS((SamplingOptions{1.0, 0.0, 0}.validate()), doctest::Contains("top_p"), Error);
  CHECK_THROWS_WITH_AS((SamplingOptions{1.0, 1.1, 0}.validate()), doctest::Contains("top_p"), Error);
}
