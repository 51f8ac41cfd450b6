// Values worked out by hand from the formulas of DeepSpeed's scheduler page.
#include <doctest/doctest.h>

#include <cmath>

#include "core/error.h"
#include "zero/lr_schedule.h"

using namespace llama_zero;

namespace {

doctest::Approx near(double value) { return doctest::Approx(value).epsilon(1e-14); }

std::vector<double> first_rates(const LrSchedule& schedule, int updates) {
  std::vector<double> rates;
  for (int update = 1; update <= updates; ++update) rates.push_back(learning_rate(schedule, update));
  return rates;
}

void check_rates(const LrSchedule& schedule, const std::vector<double>& expected) {
  const std::vector<double> rates = first_rates(schedule, static_cast<int>(expected.size()));
  for (std::size_t i = 0; i < expected.size(); ++i) {
    INFO("update " << i + 1);
    CHECK(rates[i] == near(expected[i]));
  }
}

}  // namespace

TEST_CASE("a constant rate stays") { check_rates(ConstantLr{0.25}, {0.25, 0.25, 0.25}); }

TEST_CASE("WarmupLR runs its first two updates at the minimum, linear warm-up reaches the maximum at update Wh + 2") {
  check_rates(WarmupLr{0.0, 0.8, 4, WarmupType::kLinear}, {0.0, 0.0, 0.2, 0.4, 0.6, 0.8, 0.8, 0.8});
  check_rates(WarmupLr{0.1, 0.9, 4, WarmupType::kLinear}, {0.1, 0.1, 0.3, 0.5, 0.7, 0.9, 0.9});
}

TEST_CASE("WarmupLR with log warm-up reaches the maximum at update Wh + 1") {
  check_rates(WarmupLr{0.0, 1.0, 4, WarmupType::kLog}, {0.0, 0.0, 0.5, std::log(3.0) / std::log(4.0), 1.0, 1.0, 1.0});
}

TEST_CASE("fewer than two warm-up steps count as two") {
  check_rates(WarmupLr{0.0, 1.0, 0, WarmupType::kLinear}, {0.0, 0.0, 0.5, 1.0});
  check_rates(WarmupLr{0.0, 1.0, 1, WarmupType::kLog}, {0.0, 0.0, 1.0, 1.0});
}

TEST_CASE("WarmupDecayLR is 1 at t = Wh, falls linearly and is the minimum from t = T on") {
  check_rates(WarmupDecayLr{{0.0, 1.0, 2, WarmupType::kLinear}, 6},
              {0.0, 0.0, 0.5, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0, 0.0});
  check_rates(WarmupDecayLr{{0.2, 1.0, 2, WarmupType::kLinear}, 4}, {0.2, 0.2, 0.6, 1.0, 0.6, 0.2, 0.2});
}

TEST_CASE("WarmupDecayLR with a total below the warm-up ends at the minimum after warm-up") {
  check_rates(WarmupDecayLr{{0.0, 1.0, 3, WarmupType::kLinear}, 2}, {0.0, 0.0, 1.0 / 3, 2.0 / 3, 0.0, 0.0});
}

TEST_CASE("WarmupCosineLR starts at 0, warms up from its ratio and ends at cos_min_ratio for good") {
  const WarmupCosineLr schedule{2.0, 0.5, 0.1, 2, WarmupType::kLinear, 6};
  const double quarter = 0.1 + 0.9 * (1.0 + std::sqrt(0.5)) / 2.0;
  const double three_quarters = 0.1 + 0.9 * (1.0 - std::sqrt(0.5)) / 2.0;
  check_rates(schedule, {0.0, 1.0, 1.5, 2.0 * quarter, 2.0 * 0.55, 2.0 * three_quarters, 0.2, 0.2, 0.2});
}

TEST_CASE("OneCycle climbs, falls and decays") {
  OneCycle cycle{1.0, 5.0};
  cycle.cycle_first_step_size = 4;
  cycle.cycle_second_step_size = 2;
  cycle.decay_lr_rate = 0.5;
  cycle.decay_step_size = 2;
  // f(-1) = min; t = 0..3 climb by 1; t = 4, 5 fall; from t = 6 on, min / (1 + 0.5 d / 2).
  check_rates(cycle, {1.0, 2.0, 3.0, 4.0, 5.0, 3.0, 1.0, 1.0 / 1.25, 1.0 / 1.5, 1.0 / 1.75});
}

TEST_CASE("OneCycle without decay stays at its minimum") {
  OneCycle cycle{1.0, 3.0};
  cycle.cycle_first_step_size = 2;
  check_rates(cycle, {1.0, 2.0, 3.0, 2.0, 1.0, 1.0, 1.0});
}

TEST_CASE("OneCycle climbs in stairs when told") {
  OneCycle cycle{0.0, 1.0};
  cycle.cycle_first_step_size = 4;
  cycle.cycle_first_stair_count = 2;
  check_rates(cycle, {0.0, 0.0, 0.5, 0.5, 1.0, 0.5, 0.5, 0.0, 0.0});
}

TEST_CASE("OneCycle moves momentum against the rate, with beta2 = 0.99") {
  OneCycle cycle{1.0, 5.0};
  cycle.cycle_first_step_size = 4;
  cycle.decay_mom_rate = 0.1;
  cycle.decay_step_size = 1;
  const Betas configured{0.9, 0.999};
  const std::vector<double> expected{0.8, 0.875, 0.85, 0.825, 0.8, 0.825, 0.85, 0.875, 0.9, 0.9 * 1.1, 0.9 * 1.2};
  for (std::size_t i = 0; i < expected.size(); ++i) {
    INFO("update " << i + 1);
    const Betas betas = scheduled_betas(cycle, configured, static_cast<std::int64_t>(i) + 1);
    CHECK(betas.beta1 == near(expected[i]));
    CHECK(betas.beta2 == 0.99);
  }
  cycle.cycle_momentum = false;
  CHECK(scheduled_betas(cycle, configured, 3) == configured);
}

TEST_CASE("LRRangeTest grows without bound, in stairs when told") {
  check_rates(LrRangeTest{0.1, 2, 1.0, false}, {0.1, 0.15, 0.2, 0.25, 0.3});
  check_rates(LrRangeTest{0.1, 2, 3.0, true}, {0.1, 0.1, 0.4, 0.4, 0.7});
}

TEST_CASE("the table holds a row for each update with bias corrections in double") {
  const auto rows = build_schedule_table(WarmupLr{0.0, 0.8, 4, WarmupType::kLinear}, {0.9, 0.999}, true, 5);
  REQUIRE(rows.size() == 5);
  CHECK(rows[2].lr == near(0.2));
  CHECK(rows[0].bias_correction1 == near(0.1));
  CHECK(rows[2].bias_correction1 == near(1.0 - 0.729));
  CHECK(rows[1].bias_correction2_sqrt == near(std::sqrt(1.0 - 0.998001)));
}

TEST_CASE("without bias correction both factors are 1") {
  for (const ScheduleRow& row : build_schedule_table(ConstantLr{1.0}, {}, false, 3)) {
    CHECK(row.bias_correction1 == 1.0);
    CHECK(row.bias_correction2_sqrt == 1.0);
  }
}

TEST_CASE("the bias corrections of a momentum cycle use the momentum of their update") {
  OneCycle cycle{1.0, 5.0};
  cycle.cycle_first_step_size = 4;
  const auto rows = build_schedule_table(cycle, {}, true, 3);
  CHECK(rows[2].bias_correction1 == near(1.0 - 0.85 * 0.85 * 0.85));
  CHECK(rows[1].bias_correction2_sqrt == near(std::sqrt(1.0 - 0.99 * 0.99)));
  CHECK(rows[1].beta1 == near(0.875));
  CHECK(rows[1].beta2 == 0.99);
}

TEST_CASE("impossible schedules are refused") {
  OneCycle cycle;
  cycle.cycle_first_step_size = 0;
  CHECK_THROWS_AS(learning_rate(cycle, 1), Error);
  CHECK_THROWS_AS(learning_rate(LrRangeTest{0.1, 0, 1.0, false}, 1), Error);
  CHECK_THROWS_AS(learning_rate(ConstantLr{}, 0), Error);
}
