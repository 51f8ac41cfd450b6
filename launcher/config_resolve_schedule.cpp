// The scheduler section, typed; its autos.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "launcher/config_resolve.h"

namespace llama_zero {
namespace {

std::string param(std::string_view name) { return fmt::format("scheduler.params.{}", name); }

class ScheduleResolver {
 public:
  ScheduleResolver(ConfigValues& values, TrainConfig& config)
      : values_(values), config_(config), schedule_(config.schedule) {}

  void run() {
    const std::string& type = values_.scheduler_type();
    schedule_.type_name = type;
    if (type == "constant") constant();
    if (type == "linear") linear();
    if (type == "WarmupLR") warmup_lr();
    if (type == "WarmupDecayLR") warmup_decay();
    if (type == "WarmupCosineLR") warmup_cosine();
    if (type == "OneCycle") one_cycle();
    if (type == "LRRangeTest") range_test();
  }

 private:
  void constant() { schedule_.type = ScheduleType::kConstant; }

  void linear() {
    schedule_.type = ScheduleType::kLinear;
    if (!values_.is_set("scheduler.type")) {
      config_.notes.push_back(
          "no scheduler in the config: linear decay to 0 without warmup, as Hugging Face's Trainer");
    }
    if (!values_.is_set(param("total_num_steps"))) {
      values_.fill(param("total_num_steps"), steps_of_run(), "auto: optimizer steps of the run");
    }
    total_steps();
  }

  void warmup_lr() {
    schedule_.type = ScheduleType::kWarmup;
    min_max_lr();
    if (!values_.is_set(param("warmup_max_lr"))) {
      values_.fill(param("warmup_max_lr"), config_.optimizer.lr, "default: the optimizer's lr");
    }
    schedule_.warmup_max_lr = values_.number(param("warmup_max_lr"));
    warmup_steps(config_.total_steps);
  }

  void warmup_decay() {
    schedule_.type = ScheduleType::kWarmupDecay;
    min_max_lr();
    schedule_.warmup_max_lr = values_.number(param("warmup_max_lr"));
    total_steps();
    warmup_steps(schedule_.total_num_steps);
  }

  void warmup_cosine() {
    schedule_.type = ScheduleType::kWarmupCosine;
    schedule_.warmup_min_ratio = values_.number(param("warmup_min_ratio"));
    schedule_.cos_min_ratio = values_.number(param("cos_min_ratio"));
    schedule_.cosine_climbs = values_.profile().is_before("0.19.3");
    total_steps();
    warmup_steps(schedule_.total_num_steps);
  }

  void one_cycle() {
    schedule_.type = ScheduleType::kOneCycle;
    for (const char* name : {"cycle_min_lr", "cycle_max_lr"}) required(name);
    schedule_.cycle_min_lr = values_.number(param("cycle_min_lr"));
    schedule_.cycle_max_lr = values_.number(param("cycle_max_lr"));
    schedule_.decay_lr_rate = values_.number(param("decay_lr_rate"));
    schedule_.cycle_first_step_size = values_.integer(param("cycle_first_step_size"));
    schedule_.cycle_second_step_size = or_first("cycle_second_step_size", schedule_.cycle_first_step_size);
    schedule_.cycle_first_stair_count = values_.integer(param("cycle_first_stair_count"));
    schedule_.cycle_second_stair_count = or_first("cycle_second_stair_count", schedule_.cycle_first_stair_count);
    schedule_.decay_step_size = values_.integer(param("decay_step_size"));
    momentum_cycle();
  }

  void momentum_cycle() {
    const OptimizerKind kind = config_.optimizer.kind;
    const bool has_betas =
        kind == OptimizerKind::kAdamW || kind == OptimizerKind::kAdam || kind == OptimizerKind::kLion;
    const bool wanted = values_.flag(param("cycle_momentum"));
    schedule_.cycle_momentum = wanted && has_betas;
    schedule_.cycle_min_mom = values_.number(param("cycle_min_mom"));
    schedule_.cycle_max_mom = values_.number(param("cycle_max_mom"));
    schedule_.decay_mom_rate = values_.number(param("decay_mom_rate"));
    if (wanted && !has_betas) {
      config_.warnings.push_back(
          fmt::format("{}: OneCycle leaves the momentum alone: {} has no betas, in DeepSpeed too",
                      values_.where("scheduler.type"), config_.optimizer.type));
    }
    if (schedule_.cycle_momentum && values_.is_set(param("decay_mom_rate")) && schedule_.decay_mom_rate > 0.0 &&
        schedule_.decay_step_size > 0) {
      warn_of_large_momentum();
    }
  }

  /// The momentum grows without bound after the cycle, as DeepSpeed's does; from 1 on moments grow too.
  void warn_of_large_momentum() {
    if (schedule_.cycle_max_mom <= 0.0 || schedule_.cycle_max_mom >= 1.0) return;
    const double steps = (1.0 / schedule_.cycle_max_mom - 1.0) / schedule_.decay_mom_rate *
                         static_cast<double>(schedule_.decay_step_size);
    const auto first = static_cast<double>(schedule_.cycle_first_step_size + schedule_.cycle_second_step_size) + 1.0;
    if (first + std::ceil(steps) > static_cast<double>(config_.total_steps)) return;
    config_.warnings.push_back(
        fmt::format("{}: decay_mom_rate makes the momentum reach 1 at update {:.0f}: moments grow from there on",
                    values_.where(param("decay_mom_rate")), first + std::ceil(steps)));
  }

  void range_test() {
    schedule_.type = ScheduleType::kLrRangeTest;
    schedule_.lr_range_test_min_lr = values_.number(param("lr_range_test_min_lr"));
    schedule_.lr_range_test_step_size = values_.integer(param("lr_range_test_step_size"));
    schedule_.lr_range_test_step_rate = values_.number(param("lr_range_test_step_rate"));
    schedule_.lr_range_test_staircase = values_.flag(param("lr_range_test_staircase"));
  }

  std::int64_t or_first(std::string_view name, std::int64_t first) {
    if (values_.is_null(param(name))) values_.fill(param(name), first, "default: as the first");
    return values_.integer(param(name));
  }

  void required(std::string_view name) {
    require(values_.is_set(param(name)), "{}: {} needs {}", values_.where("scheduler.type"), values_.scheduler_type(),
            param(name));
  }

  void min_max_lr() {
    if (values_.is_auto(param("warmup_min_lr"))) values_.fill(param("warmup_min_lr"), 0.0, "auto: Hugging Face's");
    if (values_.is_auto(param("warmup_max_lr"))) {
      values_.fill(param("warmup_max_lr"), config_.optimizer.lr, "auto: the optimizer's lr");
    }
    schedule_.warmup_min_lr = values_.number(param("warmup_min_lr"));
  }

  /// A schedule has a step, even that of a run of none (epochs 0).
  std::int64_t steps_of_run() const { return std::max<std::int64_t>(1, config_.total_steps); }

  void total_steps() {
    const std::string key = param("total_num_steps");
    required("total_num_steps");
    if (values_.is_auto(key)) values_.fill(key, steps_of_run(), "auto: optimizer steps of the run");
    schedule_.total_num_steps = values_.integer(key);
    if (schedule_.total_num_steps < config_.total_steps) {
      config_.warnings.push_back(fmt::format(
          "{}: total_num_steps {} is less than the run's {} steps: the schedule has ended before the run does",
          values_.where(key), schedule_.total_num_steps, config_.total_steps));
    }
  }

  /// `total` is what 3 % is taken of.
  void warmup_steps(std::int64_t total) {
    const std::string key = param("warmup_num_steps");
    if (values_.is_auto(key)) {
      const std::int64_t steps = std::max<std::int64_t>(1, (3 * total + 99) / 100);
      values_.fill(key, steps, "auto: 3 % of the schedule's steps, at least 1");
    }
    schedule_.warmup_num_steps = values_.integer(key);
    warmup_type();
    const bool decays = schedule_.type != ScheduleType::kWarmup;
    if (decays && schedule_.total_num_steps < schedule_.warmup_num_steps) {
      config_.warnings.push_back(fmt::format("{}: total_num_steps {} is less than warmup_num_steps {}",
                                             values_.where(param("total_num_steps")), schedule_.total_num_steps,
                                             schedule_.warmup_num_steps));
    }
  }

  void warmup_type() {
    const std::string word = values_.text(param("warmup_type"));
    if (!values_.is_set(param("warmup_type"))) {
      config_.warnings.push_back(fmt::format(
          "{}: {} warms up by a logarithm, DeepSpeed's default: half of the rise is over after {:.0f} of {} "
          "updates; write \"warmup_type\": \"linear\" for a straight line, \"log\" to silence this",
          values_.where("scheduler.type"), values_.scheduler_type(),
          std::ceil(std::sqrt(std::max(2.0, static_cast<double>(schedule_.warmup_num_steps)))),
          schedule_.warmup_num_steps));
    }
    schedule_.warmup_type = word == "linear" ? WarmupType::kLinear : WarmupType::kLog;
    if (word == "linear" || word == "log") return;
    config_.warnings.push_back(
        fmt::format("{}: warmup_type \"{}\" is not known (log, linear); DeepSpeed takes log, and so does this run",
                    values_.where(param("warmup_type")), word));
  }

  ConfigValues& values_;
  TrainConfig& config_;
  ScheduleConfig& schedule_;
};

}  // namespace

void resolve_schedule(ConfigValues& values, TrainConfig& config) { ScheduleResolver(values, config).run(); }

}  // namespace llama_zero
