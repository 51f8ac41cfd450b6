// metrics.jsonl: one JSON object a step, written as the step ends, so that a reader can follow a run that goes on.
#pragma once

#include <string>

#include "core/files.h"
#include "launcher/step_report.h"

namespace llama_zero {

/// The line of one step, without the newline. Keys, in this order: step, loss, lr, grad_norm, loss_scale, skipped,
/// samples, tokens, tokens_per_s, step_ms, mem_peak_bytes, comm_bytes, comm_ms, wait_ms, epoch. Numbers that are not finite become null.
std::string metrics_line(const StepReport& report);

class MetricsFile {
 public:
  /// Starts the file anew, but for the lines of steps up to `steps_before`, which a resumed run has behind it. Throws
  /// Error when it cannot be written.
  explicit MetricsFile(fs::path path, std::int64_t steps_before = 0);
  ~MetricsFile();
  MetricsFile(const MetricsFile&) = delete;
  MetricsFile& operator=(const MetricsFile&) = delete;

  /// Appends one line and hands it to the system at once. Throws Error naming the file and the reason (disk full, ...).
  void write(const StepReport& report);

 private:
  fs::path path_;
  int descriptor_ = -1;
};

}  // namespace llama_zero
