// What a user reads while a run goes on, by DeepSpeed's keys.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/files.h"

namespace llama_zero {

/// "tensorboard" and "csv_monitor".
struct FileMonitorConfig {
  bool enabled = false;
  std::string output_path, job_name;
  /// output_path/job_name, below the working folder unless output_path is absolute.
  fs::path folder() const { return fs::path(output_path) / job_name; }
};

struct FlopsProfilerConfig {
  bool enabled = false;
  double recompute_fwd_factor = 0.0;
  std::int64_t profile_step = 1;  ///< steps that are finished before the profiled one
  std::int64_t module_depth = -1, top_modules = 1;
  bool detailed = true;
  std::string output_file;  ///< empty: standard output
};

struct CommsLoggerConfig {
  bool enabled = false, verbose = false, prof_all = true, debug = false;
  std::vector<std::string> prof_ops;
};

struct MonitorConfig {
  std::int64_t steps_per_print = 0;  ///< 0: never
  bool wall_clock_breakdown = false, memory_breakdown = false, dump_state = false;
  bool throughput = true;  ///< timers.throughput.enabled
  std::string log_level;   ///< empty: the command line's
  FileMonitorConfig tensorboard, csv;
  FlopsProfilerConfig flops;
  CommsLoggerConfig comms;
};

}  // namespace llama_zero
