// What a run prints, times and writes beside its steps.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string>

#include "core/error.h"
#include "launcher/config_resolve.h"
#include "launcher/monitor/comms_log.h"
#include "launcher/schema_coerce.h"

namespace llama_zero {
namespace {

FileMonitorConfig file_monitor(const ConfigValues& values, const std::string& section) {
  FileMonitorConfig monitor;
  monitor.enabled = values.flag(section + ".enabled");
  monitor.output_path = values.text(section + ".output_path");
  monitor.job_name = values.text(section + ".job_name");
  return monitor;
}

FlopsProfilerConfig flops_profiler(const ConfigValues& values) {
  FlopsProfilerConfig flops;
  flops.enabled = values.flag("flops_profiler.enabled");
  flops.recompute_fwd_factor = values.number("flops_profiler.recompute_fwd_factor");
  flops.profile_step = values.integer("flops_profiler.profile_step");
  flops.module_depth = values.integer("flops_profiler.module_depth");
  flops.top_modules = values.integer("flops_profiler.top_modules");
  flops.detailed = values.flag("flops_profiler.detailed");
  flops.output_file = values.text("flops_profiler.output_file");
  return flops;
}

bool names_a_collective(const std::string& name) {
  constexpr std::array<std::string_view, 6> kOps = {"all_gather", "all_to_all", "broadcast", "send", "recv", "barrier"};
  return std::ranges::any_of(kOps, [&](std::string_view op) { return names_op({name}, op); });
}

CommsLoggerConfig comms_logger(const ConfigValues& values, std::vector<std::string>& warnings) {
  CommsLoggerConfig comms;
  comms.enabled = values.flag("comms_logger.enabled");
  comms.verbose = values.flag("comms_logger.verbose");
  comms.prof_all = values.flag("comms_logger.prof_all");
  comms.debug = values.flag("comms_logger.debug");
  constexpr std::string_view kOps = "comms_logger.prof_ops";
  comms.prof_ops = values.texts(kOps);
  for (const std::string& op : comms.prof_ops) {
    if (comms.enabled && !comms.prof_all && !names_a_collective(op)) {
      warnings.push_back(fmt::format("{}: {}: no collective here is called {}", values.where(kOps), kOps, op));
    }
  }
  return comms;
}

}  // namespace

void resolve_monitor(const ConfigValues& values, TrainConfig& config) {
  MonitorConfig& monitor = config.monitor;
  monitor.steps_per_print = values.is_null("steps_per_print") ? 0 : values.integer("steps_per_print");
  monitor.memory_breakdown = values.flag("memory_breakdown");
  monitor.dump_state = values.flag("dump_state");
  monitor.throughput = values.flag("timers.throughput.enabled");
  monitor.log_level = lower_case(values.text("log_level"));
  monitor.tensorboard = file_monitor(values, "tensorboard");
  monitor.csv = file_monitor(values, "csv_monitor");
  monitor.flops = flops_profiler(values);
  monitor.comms = comms_logger(values, config.warnings);
  // A profile needs the times, so DeepSpeed switches the lines on with it.
  monitor.wall_clock_breakdown = values.flag("wall_clock_breakdown") || monitor.flops.enabled;
  if (monitor.flops.enabled && monitor.flops.profile_step >= config.total_steps) {
    config.warnings.push_back(
        fmt::format("{}: flops_profiler.profile_step {} is after the last of {} steps (they count from 0 there): "
                    "nothing is profiled",
                    values.where("flops_profiler.profile_step"), monitor.flops.profile_step, config.total_steps));
  }
}

}  // namespace llama_zero
