#include "launcher/schedule.h"

#include <fmt/format.h>

#include <algorithm>

#include "zero/lr_schedule.h"

namespace llama_zero {
namespace {

WarmupLr warmup(const ScheduleConfig& config) {
  return {config.warmup_min_lr, config.warmup_max_lr, config.warmup_num_steps, config.warmup_type};
}

OneCycle one_cycle(const ScheduleConfig& config) {
  OneCycle cycle;
  cycle.cycle_min_lr = config.cycle_min_lr;
  cycle.cycle_max_lr = config.cycle_max_lr;
  cycle.decay_lr_rate = config.decay_lr_rate;
  cycle.cycle_first_step_size = config.cycle_first_step_size;
  cycle.cycle_second_step_size = config.cycle_second_step_size;
  cycle.cycle_first_stair_count = config.cycle_first_stair_count;
  cycle.cycle_second_stair_count = config.cycle_second_stair_count;
  cycle.decay_step_size = config.decay_step_size;
  cycle.cycle_momentum = config.cycle_momentum;
  cycle.cycle_min_mom = config.cycle_min_mom;
  cycle.cycle_max_mom = config.cycle_max_mom;
  cycle.decay_mom_rate = config.decay_mom_rate;
  return cycle;
}

LrSchedule to_schedule(const TrainConfig& config) {
  const ScheduleConfig& schedule = config.schedule;
  switch (schedule.type) {
    case ScheduleType::kConstant:
      return ConstantLr{config.optimizer.lr};
    case ScheduleType::kLinear:
      return LinearLr{config.optimizer.lr, schedule.total_num_steps};
    case ScheduleType::kWarmup:
      return warmup(schedule);
    case ScheduleType::kWarmupDecay:
      return WarmupDecayLr{warmup(schedule), schedule.total_num_steps};
    case ScheduleType::kWarmupCosine:
      return WarmupCosineLr{config.optimizer.lr,       schedule.warmup_min_ratio, schedule.cos_min_ratio,
                            schedule.warmup_num_steps, schedule.warmup_type,      schedule.total_num_steps,
                            schedule.cosine_climbs};
    case ScheduleType::kOneCycle:
      return one_cycle(schedule);
    case ScheduleType::kLrRangeTest:
      return LrRangeTest{schedule.lr_range_test_min_lr, schedule.lr_range_test_step_size,
                         schedule.lr_range_test_step_rate, schedule.lr_range_test_staircase};
  }
  fail("unknown learning-rate schedule");
}

std::string zero_updates(const std::vector<ScheduleRow>& rows) {
  const auto first = std::ranges::find_if(rows, [](const ScheduleRow& row) { return row.lr != 0.0; }) - rows.begin();
  if (first == 0) return "";
  if (first == static_cast<std::ptrdiff_t>(rows.size())) return "; every update runs with learning rate 0";
  if (first == 1) return "; update 1 runs with learning rate 0, as in DeepSpeed";
  return fmt::format("; updates 1 to {} run with learning rate 0, as in DeepSpeed", first);
}

std::string momentum_range(const TrainConfig& config, const std::vector<ScheduleRow>& rows) {
  if (config.schedule.type != ScheduleType::kOneCycle || !config.schedule.cycle_momentum) return "";
  const auto [low, high] = std::ranges::minmax_element(rows, {}, &ScheduleRow::beta1);
  return fmt::format("; momentum between {:.4g} and {:.4g}, second beta {:g}", low->beta1, high->beta1, low->beta2);
}

}  // namespace

std::vector<ScheduleRow> schedule_rows(const TrainConfig& config) {
  const Betas betas{config.optimizer.beta1, config.optimizer.beta2};
  return build_schedule_table(to_schedule(config), betas, config.optimizer.bias_correction, config.total_steps,
                              config.optimizer.lr_decay);
}

std::string describe_schedule(const TrainConfig& config, const std::vector<ScheduleRow>& rows) {
  const auto peak = std::ranges::max_element(rows, {}, &ScheduleRow::lr);
  return fmt::format("{}: first {:.4g}, peak {:.4g} at update {}, last {:.4g}{}{}", config.schedule.type_name,
                     rows.front().lr, peak->lr, peak - rows.begin() + 1, rows.back().lr, zero_updates(rows),
                     momentum_range(config, rows));
}

}  // namespace llama_zero
