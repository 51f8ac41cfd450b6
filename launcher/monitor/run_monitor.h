// Everything that watches a training run on rank 0 beside the step line and metrics.jsonl; idle on the other ranks.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "core/arena.h"
#include "core/pass.h"
#include "launcher/monitor/comms_log.h"
#include "launcher/monitor/memory_printer.h"
#include "launcher/monitor/module_profile.h"
#include "launcher/monitor/monitor_config.h"
#include "launcher/monitor/scalar_writer.h"
#include "launcher/monitor/throughput_timer.h"
#include "launcher/runtime.h"
#include "launcher/step_report.h"
#include "launcher/train_setup.h"
#include "zero/engine.h"
#include "zero/step_timing.h"

namespace llama_zero {

class RunMonitor {
 public:
  /// Opens the monitors' files; throws Error, naming the file, when one cannot be. `setup` and `runtime` must outlive
  /// the object. `resumed_at`: of the checkpoint that the run goes on from.
  RunMonitor(const TrainSetup& setup, Runtime& runtime, LastSamples resumed_at = std::nullopt);
  RunMonitor(const RunMonitor&) = delete;
  RunMonitor& operator=(const RunMonitor&) = delete;

  /// A further observer of the steps, on any rank; before attach. It must live until stop_watching.
  void add(StepObserver& observer) { observers_.add(observer); }
  /// Starts to watch; `print` writes text as it stands, ending the live line before. Engine, arena and what `print`
  /// uses must live until stop_watching.
  void attach(Engine& engine, Arena& arena, std::function<void(std::string_view)> print);
  /// Prints the table of collectives, when there is one.
  void print_summary() const;
  /// Ends the watch.
  void stop_watching();

  /// Before step `step` (from 1) is given to the engine.
  void before_step(std::int64_t step, std::span<const Pass> passes);
  /// When the result of a step is known, in the order of the steps.
  void after_step(const StepReport& report, const StepState& state);

 private:
  void attach_own(Arena& arena);
  const MonitorConfig& config() const { return setup_.config.monitor; }
  const ScheduleRow& row_after(const StepState& state) const;
  std::vector<double> momenta_after(const StepState& state) const;
  void report_progress(const StepReport& report, const StepState& state);
  void print_boundary(const StepTimes& times) const;
  void print_times(const StepTimes& times) const;
  void print_profile(const StepReport& report, const StepTimes& times);

  const TrainSetup& setup_;
  Runtime& runtime_;
  bool watches_;
  ScalarWriters writers_;
  ThroughputTimer throughput_;
  std::vector<ScheduleRow> schedule_;  ///< a row more than the run has steps: the update that would follow
  std::function<void(std::string_view)> print_;
  Engine* engine_ = nullptr;
  Arena* arena_ = nullptr;
  StepObservers observers_;
  std::optional<StepTimer> timer_;
  std::optional<MemoryPrinter> memory_;
  std::optional<CommsLog> comms_;
  std::optional<ForwardShape> profiled_shape_;
};

}  // namespace llama_zero
