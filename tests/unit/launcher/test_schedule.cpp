#include <doctest/doctest.h>

#include <string>

#include "launcher/schedule.h"

namespace llama_zero {
namespace {

TrainConfig config_of(ScheduleType type, std::int64_t steps) {
  TrainConfig config;
  config.total_steps = steps;
  config.optimizer.lr = 1e-3;
  config.schedule.type = type;
  config.schedule.type_name = "schedule";
  config.schedule.total_num_steps = steps;
  return config;
}

TrainConfig lab_config() {
  TrainConfig config = config_of(ScheduleType::kWarmupDecay, 1000);
  config.schedule.type_name = "WarmupDecayLR";
  config.schedule.warmup_max_lr = 2e-5;
  config.schedule.warmup_num_steps = 100;
  return config;
}

}  // namespace

TEST_CASE("the lab's schedule starts with two updates of learning rate 0 and peaks after its warm-up") {
  const TrainConfig config = lab_config();
  const auto rows = schedule_rows(config);
  REQUIRE(rows.size() == 1000);
  CHECK(rows[0].lr == 0.0);
  CHECK(rows[1].lr == 0.0);
  CHECK(rows[2].lr > 0.0);
  CHECK(rows[101].lr == doctest::Approx(2e-5));
  const std::string text = describe_schedule(config, rows);
  CHECK(text.find("WarmupDecayLR: first 0, peak 2e-05 at update 101, last 4.444e-08; updates 1 to 2 run with") == 0);
}

TEST_CASE("the linear schedule falls from the optimizer's rate in equal steps") {
  const auto rows = schedule_rows(config_of(ScheduleType::kLinear, 4));
  const double expected[] = {1e-3, 7.5e-4, 5e-4, 2.5e-4};
  for (std::size_t i = 0; i < 4; ++i) CHECK(rows[i].lr == doctest::Approx(expected[i]));
}

TEST_CASE("a constant schedule keeps the rate and says nothing of zero updates") {
  const TrainConfig config = config_of(ScheduleType::kConstant, 3);
  const auto rows = schedule_rows(config);
  for (const ScheduleRow& row : rows) CHECK(row.lr == 1e-3);
  CHECK(describe_schedule(config, rows).find("learning rate 0") == std::string::npos);
}

TEST_CASE("without bias correction the factors are one") {
  TrainConfig config = config_of(ScheduleType::kConstant, 3);
  CHECK(schedule_rows(config)[0].bias_correction1 == doctest::Approx(0.1));
  config.optimizer.bias_correction = false;
  for (const ScheduleRow& row : schedule_rows(config)) {
    CHECK(row.bias_correction1 == 1.0);
    CHECK(row.bias_correction2_sqrt == 1.0);
  }
}

TEST_CASE("a cycle of learning rates rises and falls") {
  TrainConfig config = config_of(ScheduleType::kOneCycle, 21);
  config.schedule.cycle_min_lr = 1e-4;
  config.schedule.cycle_max_lr = 1e-3;
  config.schedule.cycle_first_step_size = 10;
  config.schedule.cycle_second_step_size = 10;
  const auto rows = schedule_rows(config);
  CHECK(rows[0].lr == doctest::Approx(1e-4));
  CHECK(rows[10].lr == doctest::Approx(1e-3));
  CHECK(rows[5].lr < rows[10].lr);
  CHECK(rows[15].lr < rows[10].lr);
  CHECK(describe_schedule(config, rows) == "schedule: first 0.0001, peak 0.001 at update 11, last 0.0001");
  config.schedule.cycle_momentum = true;
  config.schedule.cycle_min_mom = 0.8;
  config.schedule.cycle_max_mom = 0.9;
  CHECK(describe_schedule(config, schedule_rows(config)).ends_with("; momentum between 0.8 and 0.9, second beta 0.99"));
}

}  // namespace llama_zero
