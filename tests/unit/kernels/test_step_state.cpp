#include "kernels/step_state.h"

#include "tests/unit/kernels/support.h"

namespace llama_zero {
namespace {

using test::Cpu;
using test::Tensor;

struct Row {
  bool overflow;
  float scale_after;
  std::int32_t hysteresis_after;
};

void check_table(const LossScalerConfig& config, const std::vector<Row>& table) {
  StepState state = initial_step_state(config);
  for (std::size_t step = 0; step < table.size(); ++step) {
    update_loss_scale(state, config, table[step].overflow);
    CAPTURE(step);
    CHECK(state.loss_scale == table[step].scale_after);
    CHECK(state.hysteresis_left == table[step].hysteresis_after);
  }
  CHECK(state.iteration == static_cast<std::int64_t>(table.size()));
}

LossScalerConfig dynamic_config(float initial, std::int32_t window, std::int32_t hysteresis) {
  return {.check_overflow = true,
          .dynamic = true,
          .consecutive_hysteresis = false,
          .initial_scale = initial,
          .min_loss_scale = 1.0F,
          .window = window,
          .hysteresis = hysteresis};
}

TEST_CASE("with hysteresis 1 every overflow halves the scale") {
  check_table(dynamic_config(16, 1000, 1), {{true, 8, 1}, {true, 4, 1}, {false, 4, 1}, {true, 2, 1}});
}

TEST_CASE("hysteresis 2 spends one overflow before the scale falls, and stays spent") {
  check_table(dynamic_config(16, 1000, 2), {{true, 16, 1}, {false, 16, 1}, {true, 8, 1}, {true, 4, 1}});
}

TEST_CASE("consecutive hysteresis is refilled by a clean step") {
  LossScalerConfig config = dynamic_config(16, 1000, 2);
  config.consecutive_hysteresis = true;
  check_table(config, {{true, 16, 1}, {false, 16, 2}, {true, 16, 1}, {true, 8, 1}});
}

TEST_CASE("the scale doubles after a window of clean steps and hysteresis is refilled") {
  // The first window starts at step 0 with last_overflow = -1: clean - 1 = iteration, so it grows at iterations 3, 6,
  // ...
  check_table(dynamic_config(4, 3, 2),
              {{false, 4, 2}, {true, 4, 1}, {false, 4, 1}, {false, 4, 1}, {false, 4, 1}, {false, 8, 2}, {false, 8, 2}});
}

TEST_CASE("the scale never falls below its minimum, and exhaustion shows") {
  LossScalerConfig config = dynamic_config(4, 1000, 1);
  config.min_loss_scale = 2.0F;
  StepState state = initial_step_state(config);
  update_loss_scale(state, config, true);
  CHECK(state.loss_scale == 2.0F);
  CHECK(state.scale_exhausted == 0);
  update_loss_scale(state, config, true);
  CHECK(state.loss_scale == 2.0F);
  CHECK(state.scale_exhausted == 1);
  update_loss_scale(state, config, false);
  CHECK(state.scale_exhausted == 0);
}

TEST_CASE("a static scale stays") {
  LossScalerConfig config = dynamic_config(128, 1, 1);
  config.dynamic = false;
  check_table(config, {{true, 128, 1}, {false, 128, 1}, {false, 128, 1}});
}

TEST_CASE("the gradient multiplier unscales and clips by norm plus 1e-6") {
  CHECK(grad_multiplier(5.0, 1.0, 0.0) == 1.0F);
  CHECK(grad_multiplier(0.5, 4.0, 1.0) == 0.25F);
  CHECK(grad_multiplier(3.0, 2.0, 1.0) == static_cast<float>(1.0 / (2.0 * 3.000001)));
}

struct Boundary {
  LossScalerConfig config;
  Tensor state{DType::kU8, sizeof(StepState)};
  Tensor schedule;
  Cpu cpu;

  explicit Boundary(const LossScalerConfig& c) : config(c), schedule(DType::kU8, 2 * sizeof(ScheduleRow)) {
    const ScheduleRow rows[2] = {{0.5, 0.25, 0.125, 0.75, 0.875, 1.5}, {0.1, 0.5, 0.25, 0.5, 0.625, 2.0}};
    std::memcpy(schedule.view().raw(), rows, sizeof(rows));
    const StepState initial = initial_step_state(config);
    std::memcpy(state.view().raw(), &initial, sizeof(initial));
  }
  StepState advance(const std::vector<double>& per_rank, double clip) {
    const Tensor sums = Tensor::of(DType::kF64, per_rank);
    cpu.run(AdvanceStep{static_cast<std::int64_t>(per_rank.size()) / 2, sums, state, schedule, config, clip});
    StepState result;
    std::memcpy(&result, state.view().raw(), sizeof(result));
    return result;
  }
};

TEST_CASE("advance_step adds the ranks, unscales the norm, clips, and reads the schedule by applied updates") {
  Boundary boundary(dynamic_config(8, 1000, 1));
  StepState s = boundary.advance({400.0, 0.0, 176.0, 0.0}, 1.5);  // sqrt(576) = 24, / 8 = 3
  CHECK(s.grad_norm == 3.0);
  CHECK(s.used_loss_scale == 8.0F);
  CHECK(s.grad_multiplier == static_cast<float>(1.0 / (8.0 * ((3.0 + 1e-6) / 1.5))));
  CHECK(s.lr == 0.5);
  CHECK(s.bias_correction1 == 0.25);
  CHECK(s.bias_correction2_sqrt == 0.125);
  CHECK(s.beta1 == 0.75);
  CHECK(s.beta2 == 0.875);
  CHECK(s.lr_divisor == 1.5);
  CHECK(s.skip == 0);
  CHECK(s.applied_steps == 1);

  s = boundary.advance({1.0, 0.0, 1.0, 2.0}, 1.5);  // overflow on rank 1
  CHECK(s.skip == 1);
  CHECK(s.applied_steps == 1);
  CHECK(s.skipped_steps == 1);
  CHECK(s.used_loss_scale == 8.0F);
  CHECK(s.loss_scale == 4.0F);

  s = boundary.advance({16.0, 0.0, 0.0, 0.0}, 0.0);
  CHECK(s.skip == 0);
  CHECK(s.grad_norm == 1.0);
  CHECK(s.lr == 0.1);  // the skipped step did not move the schedule; the row is not rounded
  CHECK(s.iteration == 3);

  s = boundary.advance({16.0, 0.0, 0.0, 0.0}, 0.0);
  CHECK(s.lr == 0.1);  // the last row repeats
  CHECK(s.applied_steps == 3);
}

TEST_CASE("without overflow checking a non-finite gradient is not skipped") {
  LossScalerConfig config;
  Boundary boundary(config);
  CHECK(boundary.advance({INFINITY, 1.0}, 0.0).skip == 0);
}

}  // namespace
}  // namespace llama_zero
