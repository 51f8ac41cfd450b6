// --trace: the timeline of a training run's first steps, on all ranks.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/trace.h"
#include "launcher/runtime.h"
#include "launcher/trace_observer.h"
#include "launcher/train_setup.h"

namespace llama_zero {

class TraceRun {
 public:
  /// Collective. Nothing happens unless the config has a trace: proves that its file can be written (AgreedError),
  /// compares the ranks' clocks, and records from now on. Everything must outlive the object.
  TraceRun(const TrainSetup& setup, Runtime& runtime, std::int64_t steps_before);
  ~TraceRun();
  TraceRun(const TraceRun&) = delete;
  TraceRun& operator=(const TraceRun&) = delete;

  /// What the engine is to tell of its steps; nullptr: no trace.
  StepObserver* observer() { return observer_ ? &*observer_ : nullptr; }

  /// Step `step` (from 1) is about to be given to the engine.
  void before_step(std::int64_t step);
  /// Whether after_step(step) will write the file.
  bool writes_after(std::int64_t step) const { return recording_ && step >= last_step_; }
  /// Collective. Step `step` is over; writes the file when it is the last one traced.
  void after_step(std::int64_t step);
  /// Collective. Writes the file unless it has been written. A trace that cannot be written is a warning.
  void finish();

 private:
  void stop();

  Runtime& runtime_;
  std::string path_;
  std::int64_t last_step_ = 0;
  std::int64_t origin_ns_ = 0;
  bool recording_ = false;
  TraceRecorder recorder_;
  std::optional<TraceObserver> observer_;
};

}  // namespace llama_zero
