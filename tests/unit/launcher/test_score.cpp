#include <doctest/doctest.h>

#include "core/error.h"
#include "launcher/score.h"

namespace llama_zero {

TEST_CASE("exact match ignores white space at the ends only") {
  CHECK(exact_match(" Paris\n", "Paris"));
  CHECK(!exact_match("P aris", "Paris"));
  CHECK(!exact_match("paris", "Paris"));
  CHECK(exact_match(" \n", ""));
}

TEST_CASE("a score counts rows by family, over all and weakest") {
  Score score;
  for (int i = 0; i < 8; ++i) score.add("sums", i < 6);
  for (int i = 0; i < 2; ++i) score.add("plurals", i < 1);
  CHECK(score.total().rows == 10);
  CHECK(score.total().percent() == doctest::Approx(70.0));
  CHECK(score.mean_of_families() == doctest::Approx(62.5));
  CHECK(score.weakest().first == "plurals");
  CHECK(score.weakest().second == doctest::Approx(50.0));
}

TEST_CASE("counts of ranks add up when every rank declares the same families") {
  Score first, second;
  for (Score* score : {&first, &second}) {
    score->declare("a");
    score->declare("b");
  }
  first.add("a", true);
  second.add("b", false);
  second.add("a", false);
  std::vector<double> sum = first.counts();
  for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += second.counts()[i];
  first.set_counts(sum);
  CHECK(first.total().rows == 3);
  CHECK(first.families().at("a").exact == 1);
  CHECK(first.families().at("b").rows == 1);
  CHECK_THROWS_AS(first.set_counts({1.0}), Error);
}

}  // namespace llama_zero
