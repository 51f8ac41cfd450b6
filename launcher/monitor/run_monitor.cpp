#include "launcher/monitor/run_monitor.h"

#include <algorithm>
#include <array>
#include <utility>

#include "core/log.h"
#include "launcher/monitor/append_file.h"
#include "launcher/monitor/deepspeed_text.h"
#include "launcher/monitor/engine_state.h"
#include "launcher/monitor/flops_report.h"
#include "launcher/monitor/module_profile.h"
#include "launcher/monitor/step_scalars.h"
#include "launcher/schedule.h"

namespace llama_zero {
namespace {

/// A profile is of one run: what an earlier one left is gone.
void start_profile_file(const fs::path& path) {
  if (path.has_parent_path()) create_folder(path.parent_path());
  std::error_code ignored;
  fs::remove(path, ignored);
  const AppendFile file(path);
}

void log_lines(std::string_view text) {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size() - 1);
    log::info("{}", text.substr(0, end));
    text.remove_prefix(end + 1);
  }
}

std::vector<ScheduleRow> schedule_beyond(TrainConfig config) {
  config.total_steps += 1;
  return schedule_rows(config);
}

bool is_fp16(const TrainConfig& config) { return config.dtype == DType::kF16; }

}  // namespace

RunMonitor::RunMonitor(const TrainSetup& setup, Runtime& runtime, LastSamples resumed_at)
    : setup_(setup),
      runtime_(runtime),
      watches_(runtime.rank() == 0),
      throughput_(setup.config.batch.train_batch_size),
      schedule_(schedule_beyond(setup.config)) {
  if (!watches_) return;
  if (config().tensorboard.enabled) writers_.add(make_tensorboard_writer(config().tensorboard.folder(), resumed_at));
  if (config().csv.enabled) writers_.add(make_csv_writer(config().csv.folder(), resumed_at));
  if (config().flops.enabled && !config().flops.output_file.empty()) start_profile_file(config().flops.output_file);
}

void RunMonitor::stop_watching() {
  if (engine_ == nullptr) return;
  engine_->set_observer(nullptr);
  engine_ = nullptr;
  if (timer_) runtime_.communicator().remove_observer(*timer_);
  if (comms_) runtime_.communicator().remove_observer(*comms_);
}

void RunMonitor::attach(Engine& engine, Arena& arena, std::function<void(std::string_view)> print) {
  print_ = std::move(print);
  engine_ = &engine;
  arena_ = &arena;
  if (watches_) attach_own(arena);
  if (!observers_.empty()) engine.set_observer(&observers_);
}

void RunMonitor::attach_own(Arena& arena) {
  if (config().dump_state) {
    log_lines(engine_state_text(setup_.config, setup_.engine, *setup_.table, runtime_.rank(), runtime_.ranks()));
  }
  if (config().wall_clock_breakdown) {
    observers_.add(timer_.emplace(runtime_.device()));
    runtime_.communicator().add_observer(*timer_);
  }
  if (config().memory_breakdown) observers_.add(memory_.emplace(arena, print_));
  if (config().comms.enabled) {
    observers_.add(comms_.emplace(config().comms, runtime_.ranks(), print_));
    runtime_.communicator().add_observer(*comms_);
  }
}

void RunMonitor::print_summary() const {
  if (comms_) print_(comms_->table());
}

void RunMonitor::before_step(std::int64_t step, std::span<const Pass> passes) {
  if (!watches_ || !config().flops.enabled) return;
  if (step == config().flops.profile_step + 1) profiled_shape_ = shape_of(passes);
}

void RunMonitor::after_step(const StepReport& report, const StepState& state) {
  if (!watches_) return;
  std::optional<StepTimes> times;
  if (timer_) times = timer_->take();
  if (times) print_boundary(*times);
  throughput_.add_step(report.step_ms / 1e3);
  report_progress(report, state);
  if (times && profiled_shape_ && report.step == config().flops.profile_step + 1) print_profile(report, *times);
  if (times) print_times(*times);
  if (writers_.empty()) return;
  const ScalarOptions options{setup_.config.batch.train_batch_size, is_fp16(setup_.config)};
  writers_.write(step_scalars(report, options, row_after(state).lr, times));
}

// DeepSpeed's scheduler has moved on when it is asked: what it tells belongs to the next update.
const ScheduleRow& RunMonitor::row_after(const StepState& state) const {
  return schedule_[std::min(static_cast<std::size_t>(state.applied_steps), schedule_.size() - 1)];
}

std::vector<double> RunMonitor::momenta_after(const StepState& state) const {
  switch (setup_.engine.optimizer.kind) {
    case OptimizerKind::kSgd:
      return {setup_.engine.optimizer.momentum};
    case OptimizerKind::kAdagrad:
      return {};
    default:
      return {row_after(state).beta1, row_after(state).beta2};
  }
}

void RunMonitor::report_progress(const StepReport& report, const StepState& state) {
  if (config().steps_per_print == 0 || report.step % config().steps_per_print != 0) return;
  print_({});
  log::info("{}", progress_line(report.step, state.skipped_steps, row_after(state).lr, momenta_after(state)));
  if (!config().throughput || !throughput_.has_figures()) return;
  ThroughputFigures figures;
  figures.epoch = static_cast<std::int64_t>(report.epoch);
  figures.micro_step = report.step * setup_.config.batch.accumulation_steps;
  figures.global_step = report.step;
  figures.average_samples_per_second = throughput_.average();
  figures.current_samples_per_second = throughput_.current();
  const MemoryReport memory = arena_->report();
  figures.allocated_bytes = memory.current_bytes;
  figures.peak_bytes = memory.peak_bytes;
  log::info("{}", throughput_line(figures));
}

void RunMonitor::print_boundary(const StepTimes& times) const {
  const int stage = setup_.engine.stage;
  if (stage == 1 || stage == 2) {
    const std::array<NamedTime, 3> line = {{{"optimizer_allgather", times.publish},
                                            {"optimizer_gradients", times.gradients},
                                            {"optimizer_step", times.update}}};
    print_(times_line(line) + "\n");
  } else if (stage == 3) {
    const std::array<NamedTime, 1> line = {{{"optimizer_step", times.update}}};
    print_(times_line(line) + "\n");
  }
}

void RunMonitor::print_times(const StepTimes& times) const {
  std::string text;
  for (std::size_t pass = 0; pass < times.passes.size(); ++pass) {
    const PassTimes& own = times.passes[pass];
    const bool last = pass + 1 == times.passes.size();
    const std::array<NamedTime, 5> line = {{{"fwd_microstep", own.forward},
                                            {"bwd_microstep", own.backward},
                                            {"bwd_inner_microstep", own.inner},
                                            {"bwd_allreduce_microstep", own.reduction},
                                            {"step_microstep", last ? times.boundary() : 0.0}}};
    text += times_line(line) + "\n";
  }
  const PassTimes total = times.total();
  const std::array<NamedTime, 5> line = {{{"fwd", total.forward},
                                          {"bwd", total.backward},
                                          {"bwd_inner", total.inner},
                                          {"bwd_allreduce", total.reduction},
                                          {"step", times.boundary()}}};
  print_(text + times_line(line) + "\n");
}

void RunMonitor::print_profile(const StepReport& report, const StepTimes& times) {
  const PassTimes total = times.total();
  FlopsFigures figures;
  figures.step = report.step;
  figures.ranks = runtime_.ranks();
  figures.micro_batch = setup_.config.batch.micro_batch_size;
  figures.samples = setup_.config.batch.train_batch_size;
  figures.forward_ms = total.forward;
  figures.backward_ms = total.backward;
  figures.update_ms = times.boundary();
  figures.model = profile_model(setup_.table->config(), *profiled_shape_, total.unit_forward);
  const std::string text = flops_report(figures, config().flops);
  if (config().flops.output_file.empty()) return print_(text);
  try {
    AppendFile(config().flops.output_file).write(text);
  } catch (const Error& error) {
    log::warning("flops_profiler: {}", error.what());
  }
}

}  // namespace llama_zero
