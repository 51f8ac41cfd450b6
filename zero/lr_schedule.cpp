#include "zero/lr_schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/error.h"

namespace llama_zero {
namespace {

double real(std::int64_t value) { return static_cast<double>(value); }

std::int64_t warmup_steps(std::int64_t configured) { return std::max<std::int64_t>(2, configured); }

double warmup_factor(WarmupType type, std::int64_t t, std::int64_t steps) {
  if (type == WarmupType::kLog) return std::log(real(t + 1)) / std::log(real(steps));
  return real(t) / real(steps);
}

double at(const ConstantLr& schedule, std::int64_t) { return schedule.lr; }

double at(const LinearLr& schedule, std::int64_t t) {
  const std::int64_t left = schedule.total_num_steps - (t + 1);
  return schedule.lr * (std::max(0.0, real(left)) / std::max(1.0, real(schedule.total_num_steps)));
}

double between(const WarmupLr& warmup, double factor) {
  return warmup.warmup_min_lr + (warmup.warmup_max_lr - warmup.warmup_min_lr) * factor;
}

double at(const WarmupLr& schedule, std::int64_t t) {
  if (t < 0) return schedule.warmup_min_lr;
  const std::int64_t steps = warmup_steps(schedule.warmup_num_steps);
  return between(schedule, t < steps ? warmup_factor(schedule.warmup_type, t, steps) : 1.0);
}

double at(const WarmupDecayLr& schedule, std::int64_t t) {
  const std::int64_t steps = warmup_steps(schedule.warmup.warmup_num_steps);
  if (t < steps) return at(schedule.warmup, t);
  const std::int64_t total = schedule.total_num_steps;
  return between(schedule.warmup, std::max(0.0, real(total - t) / std::max(1.0, real(total - steps))));
}

double at(const WarmupCosineLr& schedule, std::int64_t t) {
  if (t < 0) return 0.0;
  const std::int64_t steps = warmup_steps(schedule.warmup_num_steps);
  if (t < steps) {
    const double low = schedule.warmup_min_ratio;
    return schedule.lr * (low + (1.0 - low) * warmup_factor(schedule.warmup_type, t, steps));
  }
  const double ratio = real(t - steps + 1) / std::max(1.0, real(schedule.total_num_steps - steps));
  const double progress = schedule.climbs ? ratio : std::min(1.0, ratio);
  const double cosine = (1.0 + std::cos(std::numbers::pi * progress)) / 2.0;
  const double low = schedule.cos_min_ratio;
  return schedule.lr * std::max(0.0, low + (1.0 - low) * cosine);
}

struct Cycle {
  double first, second;
  std::int64_t first_stairs, second_stairs;
  double total() const { return first + second; }
};

Cycle cycle_of(const OneCycle& schedule) {
  const std::int64_t second = schedule.cycle_second_step_size.value_or(schedule.cycle_first_step_size);
  require(schedule.cycle_first_step_size > 0 && second >= 0,
          "OneCycle: cycle_first_step_size {} must be positive and cycle_second_step_size {} not negative",
          schedule.cycle_first_step_size, second);
  return {real(schedule.cycle_first_step_size), real(second), schedule.cycle_first_stair_count,
          schedule.cycle_second_stair_count.value_or(schedule.cycle_first_stair_count)};
}

// 0 at the ends of the cycle, 1 at its peak. Stairs are floored from the step number, not from the quotient, which can
// lie just below an exact stair.
double cycle_scale(const Cycle& cycle, double b) {
  const double position = b / cycle.total();
  const double x = position - std::floor(position);
  const double ratio = cycle.first / cycle.total();
  const bool rising = x <= ratio;
  const std::int64_t stairs = rising ? cycle.first_stairs : cycle.second_stairs;
  if (stairs <= 0) return rising ? x / ratio : (x - 1.0) / (ratio - 1.0);
  const double step = std::fmod(b, cycle.total());
  const double climbed =
      step <= cycle.first ? step * real(stairs) / cycle.first : (cycle.total() - step) * real(stairs) / cycle.second;
  return std::floor(climbed) / real(stairs);
}

double decay_factor(double rate, double d, std::int64_t step_size) {
  if (step_size == 0 || rate == 0.0) return 1.0;
  return 1.0 + rate * (d / real(step_size));
}

double at(const OneCycle& schedule, std::int64_t t) {
  const Cycle cycle = cycle_of(schedule);
  if (t < 0) return schedule.cycle_min_lr;
  if (real(t) < cycle.total()) {
    return schedule.cycle_min_lr + (schedule.cycle_max_lr - schedule.cycle_min_lr) * cycle_scale(cycle, real(t + 1));
  }
  return schedule.cycle_min_lr /
         decay_factor(schedule.decay_lr_rate, real(t) - cycle.total() + 1.0, schedule.decay_step_size);
}

double momentum_at(const OneCycle& schedule, std::int64_t t) {
  const Cycle cycle = cycle_of(schedule);
  if (t < 0) return schedule.cycle_min_mom;
  if (real(t) < cycle.total()) {
    return schedule.cycle_max_mom - (schedule.cycle_max_mom - schedule.cycle_min_mom) * cycle_scale(cycle, real(t + 1));
  }
  return schedule.cycle_max_mom *
         decay_factor(schedule.decay_mom_rate, real(t) - cycle.total() + 1.0, schedule.decay_step_size);
}

double at(const LrRangeTest& schedule, std::int64_t t) {
  require(schedule.step_size > 0, "LRRangeTest: lr_range_test_step_size {} must be positive", schedule.step_size);
  if (t < 0) return schedule.min_lr;
  const double interval = real(t + 1) / real(schedule.step_size);
  return schedule.min_lr * (1.0 + schedule.step_rate * (schedule.staircase ? std::floor(interval) : interval));
}

}  // namespace

double learning_rate(const LrSchedule& schedule, std::int64_t update) {
  require(update >= 1, "learning rate of update {}: updates count from 1", update);
  return std::visit([update](const auto& kind) { return at(kind, update - 2); }, schedule);
}

bool cycles_momentum(const LrSchedule& schedule) {
  const auto* cycle = std::get_if<OneCycle>(&schedule);
  return cycle != nullptr && cycle->cycle_momentum;
}

Betas scheduled_betas(const LrSchedule& schedule, const Betas& configured, std::int64_t update) {
  if (!cycles_momentum(schedule)) return configured;
  return {momentum_at(std::get<OneCycle>(schedule), update - 2), 0.99};
}

std::vector<ScheduleRow> build_schedule_table(const LrSchedule& schedule, const Betas& betas, bool bias_correction,
                                              std::int64_t total_updates, double lr_decay) {
  std::vector<ScheduleRow> rows(static_cast<std::size_t>(std::max<std::int64_t>(1, total_updates)));
  std::int64_t update = 0;
  for (ScheduleRow& row : rows) {
    update += 1;
    row.lr = learning_rate(schedule, update);
    row.lr_divisor = 1.0 + real(update - 1) * lr_decay;
    const Betas current = scheduled_betas(schedule, betas, update);
    row.beta1 = current.beta1;
    row.beta2 = current.beta2;
    if (!bias_correction) continue;
    row.bias_correction1 = 1.0 - std::pow(current.beta1, real(update));
    row.bias_correction2_sqrt = std::sqrt(1.0 - std::pow(current.beta2, real(update)));
  }
  return rows;
}

}  // namespace llama_zero
