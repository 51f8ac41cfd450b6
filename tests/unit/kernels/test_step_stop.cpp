// States that no step goes on from, and norms that say nothing.
#include <doctest/doctest.h>

#include <initializer_list>
#include <limits>

#include "kernels/step_state.h"

namespace llama_zero {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// The state after steps of which those marked 'x' have gradients that are not finite.
StepState walk(const LossScalerConfig& config, const char* steps) {
  StepState state = initial_step_state(config);
  const ScheduleRow row;
  for (; *steps != '\0'; ++steps) {
    advance_step_state(state, config, *steps == 'x' ? kInfinity : 2.0, *steps == 'x', 0.0, &row, 1);
  }
  return state;
}

}  // namespace

TEST_CASE("a run stops at the given number of skips in a row, and only there") {
  const LossScalerConfig config{.check_overflow = true, .max_skips_in_a_row = 3};
  CHECK(!is_stopped(walk(config, "xx.xx.")));
  CHECK(walk(config, "xx.x").skips_in_a_row == 1);
  CHECK(!is_stopped(walk(config, "xx")));
  const StepState stopped = walk(config, ".xxx");
  CHECK(is_stopped(stopped));
  CHECK(stopped.too_many_skips == 1);
  CHECK(stopped.skipped_steps == 3);
  CHECK(!is_stopped(walk({.check_overflow = true}, "xxxxxxxxxxxxxxxx")));
}

TEST_CASE("steps given after a stop are skipped and leave the state as it is") {
  const LossScalerConfig config{
      .check_overflow = true, .dynamic = true, .initial_scale = 1.0F, .min_loss_scale = 1.0F, .hysteresis = 1};
  const StepState stopped = walk(config, ".x");
  CHECK(stopped.scale_exhausted == 1);
  const StepState later = walk(config, ".x.x.");
  CHECK(later.skip == 1);
  CHECK(later.iteration == stopped.iteration);
  CHECK(later.applied_steps == 1);
  CHECK(later.skipped_steps == 1);
  CHECK(later.loss_scale == stopped.loss_scale);
  CHECK(is_stopped(later));
}

TEST_CASE("a run that loads the state of one that stopped goes on, and counts skips from none") {
  const LossScalerConfig config{.check_overflow = true, .max_skips_in_a_row = 3};
  StepState state = resumed(walk(config, "xxx"));
  CHECK(!is_stopped(state));
  CHECK(state.skips_in_a_row == 0);
  CHECK(state.skipped_steps == 3);
  CHECK(resumed(walk(config, "xx")).skips_in_a_row == 2);
}

TEST_CASE("finite gradients with an infinite norm are skipped where gradients are checked") {
  const ScheduleRow row;
  for (const double norm : {kInfinity, std::numeric_limits<double>::quiet_NaN()}) {
    StepState checked;
    advance_step_state(checked, {.check_overflow = true}, norm, false, 1.0, &row, 1);
    CHECK(checked.skip == 1);
    StepState unchecked;
    advance_step_state(unchecked, {}, norm, false, 1.0, &row, 1);
    CHECK(unchecked.skip == 0);
  }
}

TEST_CASE("the factor of an update unscales and clips: 1 / (S max(1, (norm / S + 1e-6) / clip))") {
  const auto factor = [](double scaled_norm, float scale, double clip) {
    const LossScalerConfig config{.initial_scale = scale};
    StepState state = initial_step_state(config);
    const ScheduleRow row;
    advance_step_state(state, config, scaled_norm, false, clip, &row, 1);
    CHECK(state.grad_norm == scaled_norm / static_cast<double>(scale));
    return state.grad_multiplier;
  };
  CHECK(factor(3.0, 1.0F, 0.0) == 1.0F);
  CHECK(factor(0.5, 1.0F, 1.0) == 1.0F);
  CHECK(factor(4.0, 1.0F, 1.0) == static_cast<float>(1.0 / 4.000001));
  CHECK(factor(1024.0, 256.0F, 0.0) == 1.0F / 256.0F);
  CHECK(factor(1024.0, 256.0F, 8.0) == 1.0F / 256.0F);
  // norm / S = 4, clip 0.5: the coefficient is 0.5 / 4.000001, then 1 / 256.
  CHECK(factor(1024.0, 256.0F, 0.5) == static_cast<float>(1.0 / (256.0 * (4.000001 / 0.5))));
}

}  // namespace llama_zero
