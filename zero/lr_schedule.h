// Learning-rate schedules, with DeepSpeed's arithmetic (deepspeed/runtime/lr_schedules.py).
//
// DeepSpeed's counter t starts at -1 and rises by one after each applied update; a skipped step does not move it.
// Applied update k (1-based) therefore runs with f(k - 2), and f(-1) is the schedule's initial value: WarmupLR and
// WarmupDecayLR run their first two updates at warmup_min_lr. Formulas stand at each struct, Wh = max(2,
// warmup_num_steps).
#pragma once

#include <cstdint>
#include <optional>
#include <variant>
#include <vector>

#include "kernels/step_state.h"

namespace llama_zero {

/// How warm-up rises: g = ln(t + 1) / ln(Wh) or g = t / Wh for t < Wh, and 1 from there on.
enum class WarmupType { kLog, kLinear };

struct ConstantLr {
  double lr = 1e-3;
};

/// Hugging Face's get_linear_schedule_with_warmup without warm-up: lr * max(0, T - (k - 1)) / max(1, T) at update k,
/// T = total_num_steps. Its counter starts at 0, one ahead of DeepSpeed's.
struct LinearLr {
  double lr = 1e-3;
  std::int64_t total_num_steps = 1;
};

/// min + (max - min) * g; f(-1) = min.
struct WarmupLr {
  double warmup_min_lr = 0.0;
  double warmup_max_lr = 1e-3;
  std::int64_t warmup_num_steps = 1000;
  WarmupType warmup_type = WarmupType::kLog;
};

/// WarmupLR whose factor from t = Wh on is max(0, (T - t) / max(1, T - Wh)), T = total_num_steps.
struct WarmupDecayLr {
  WarmupLr warmup;
  std::int64_t total_num_steps = 1;
};

/// lr * (r0 + (1 - r0) * g) for t < Wh, r0 = warmup_min_ratio; then, with q = min(1, (t - Wh + 1) / max(1, T - Wh)) and
/// c = cos_min_ratio, lr * max(0, c + (1 - c) * (1 + cos(pi q)) / 2). f(-1) = 0. Before 0.19.3 DeepSpeed had no min
/// there, and the rate climbed again after the end (`climbs`).
struct WarmupCosineLr {
  double lr = 1e-3;
  double warmup_min_ratio = 0.0;
  double cos_min_ratio = 1e-4;
  std::int64_t warmup_num_steps = 1000;
  WarmupType warmup_type = WarmupType::kLog;
  std::int64_t total_num_steps = 1;
  bool climbs = false;
};

/// One triangle of learning rate from cycle_min_lr to cycle_max_lr and back (b = t + 1 of first + second steps), then
/// cycle_min_lr / (1 + decay_lr_rate * d / decay_step_size), d = t - (first + second) + 1. With cycle_momentum, beta1
/// moves inversely between the momenta, f(-1) = cycle_min_mom, and beta2 is 0.99.
struct OneCycle {
  double cycle_min_lr = 0.0;
  double cycle_max_lr = 1e-3;
  double decay_lr_rate = 0.0;
  std::int64_t cycle_first_step_size = 2000;
  std::optional<std::int64_t> cycle_second_step_size = std::nullopt;    ///< absent: as the first
  std::int64_t cycle_first_stair_count = 0;                             ///< 0: continuous
  std::optional<std::int64_t> cycle_second_stair_count = std::nullopt;  ///< absent: as the first
  std::int64_t decay_step_size = 0;                                     ///< 0: no decay
  bool cycle_momentum = true;
  double cycle_min_mom = 0.8;
  double cycle_max_mom = 0.9;
  double decay_mom_rate = 0.0;
};

/// min_lr * (1 + step_rate * u), u = (t + 1) / step_size, floored when staircase; f(-1) = min_lr.
struct LrRangeTest {
  double min_lr = 1e-3;
  std::int64_t step_size = 2000;
  double step_rate = 1.0;
  bool staircase = false;
};

using LrSchedule = std::variant<ConstantLr, LinearLr, WarmupLr, WarmupDecayLr, WarmupCosineLr, OneCycle, LrRangeTest>;

/// Adam's and Lion's two coefficients.
struct Betas {
  double beta1 = 0.9;
  double beta2 = 0.999;
  bool operator==(const Betas&) const = default;
};

/// Learning rate of applied update `update` >= 1. Throws Error for a schedule whose step sizes are not positive.
double learning_rate(const LrSchedule& schedule, std::int64_t update);

/// The coefficients of applied update `update`: `configured`, unless the schedule cycles momentum.
Betas scheduled_betas(const LrSchedule& schedule, const Betas& configured, std::int64_t update);
/// Whether scheduled_betas can differ from the configured ones.
bool cycles_momentum(const LrSchedule& schedule);

/// Rows 1..total_updates (at least one row). Bias corrections are 1 - beta1^s and sqrt(1 - beta2^s) in fp64 with the
/// betas of update s, as PyTorch and DeepSpeed compute them, or both 1 without `bias_correction`. `lr_decay` is
/// Adagrad's: lr_divisor = 1 + (s - 1) * lr_decay.
std::vector<ScheduleRow> build_schedule_table(const LrSchedule& schedule, const Betas& betas, bool bias_correction,
                                              std::int64_t total_updates, double lr_decay = 0.0);

}  // namespace llama_zero
