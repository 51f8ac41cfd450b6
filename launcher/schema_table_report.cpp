// Rows of what a run prints, times and writes.
#include "launcher/schema.h"

namespace llama_zero::schema_tables {

using enum ValueType;
using enum KeyStatus;

std::span<const SchemaKey> report_keys() {
  static constexpr std::string_view kMetrics = "not written yet: metrics.jsonl in the run's folder has every step";
  static constexpr SchemaKey kKeys[] = {
      {"steps_per_print", kInt, "null", "> 0", kNoEffect, "DeepSpeed's log line every n steps",
       "DeepSpeed's log line is not printed yet: the step line and metrics.jsonl report instead"},
      {"wall_clock_breakdown", kBool, "false", "", kNoEffect, "times of the phases of a step",
       "phase times are not printed yet"},
      {"memory_breakdown", kBool, "false", "", kNoEffect, "memory around the phases of a step",
       "memory around phases is not printed yet: the memory plan has every label"},
      {"dump_state", kBool, "false", "", kNoEffect, "print the engine's state; the resolved config is always there"},
      {"log_level", kString, "null", "~debug|info|warning|error|critical", kNoEffect,
       "least severe message that is printed", "messages of every level from info are printed"},
      {"timers.throughput.enabled", kBool, "true", "", kNoEffect, "throughput; always measured"},
      {"timers.throughput.synchronized", kBool, "true", "", kNoEffect, "synchronise the device for it"},
      {"tensorboard.enabled", kBool, "false", "", kNoEffect, "TensorBoard event files", kMetrics},
      {"tensorboard.output_path", kString, R"("")", "", kNoEffect, "folder of the event files"},
      {"tensorboard.job_name", kString, R"("DeepSpeedJobName")", "", kNoEffect, "folder in output_path"},
      {"csv_monitor.enabled", kBool, "false", "", kNoEffect, "one CSV file per figure", kMetrics},
      {"csv_monitor.output_path", kString, R"("")", "", kNoEffect, "folder of the CSV files"},
      {"csv_monitor.job_name", kString, R"("DeepSpeedJobName")", "", kNoEffect, "folder in output_path"},
      {"wandb.enabled", kBool, "false", "", kNoEffect, "Weights & Biases",
       "Weights & Biases is not supported: metrics.jsonl in the run's folder has every step"},
      {"wandb.group", kString, "null", "", kNoEffect, "Weights & Biases group"},
      {"wandb.team", kString, "null", "", kNoEffect, "Weights & Biases team"},
      {"wandb.project", kString, R"("deepspeed")", "", kNoEffect, "Weights & Biases project"},
      {"comet.enabled", kBool, "false", "", kNoEffect, "Comet",
       "Comet is not supported: metrics.jsonl in the run's folder has every step"},
      {"comet.samples_log_interval", kInt, "100", "> 0", kNoEffect, "rows between Comet's points"},
      {"comet.project", kString, "null", "", kNoEffect, "Comet project"},
      {"comet.workspace", kString, "null", "", kNoEffect, "Comet workspace"},
      {"comet.api_key", kString, "null", "", kNoEffect, "Comet key"},
      {"comet.experiment_name", kString, "null", "", kNoEffect, "Comet experiment"},
      {"comet.experiment_key", kString, "null", "", kNoEffect, "Comet experiment"},
      {"comet.online", kBool, "null", "", kNoEffect, "Comet online"},
      {"comet.mode", kString, "null", "", kNoEffect, "Comet mode"},
      {"flops_profiler.enabled", kBool, "false", "", kNoEffect, "operations of one step",
       "the profile is not printed yet"},
      {"flops_profiler.recompute_fwd_factor", kNumber, "0", ">= 0", kNoEffect, "forwards that backward runs again"},
      {"flops_profiler.profile_step", kInt, "1", "> 0", kNoEffect, "the step that is profiled"},
      {"flops_profiler.module_depth", kInt, "-1", "", kNoEffect, "depth of the module table"},
      {"flops_profiler.top_modules", kInt, "1", "> 0", kNoEffect, "modules in the summary"},
      {"flops_profiler.detailed", kBool, "true", "", kNoEffect, "table of modules"},
      {"flops_profiler.output_file", kString, "null", "", kNoEffect, "file of the profile"},
      {"comms_logger.enabled", kBool, "false", "", kNoEffect,
       "table of collectives; unlike in DeepSpeed the section alone does not switch it on",
       "the table is not printed yet"},
      {"comms_logger.verbose", kBool, "false", "", kNoEffect, "a line for each collective"},
      {"comms_logger.prof_all", kBool, "true", "", kNoEffect, "all collectives"},
      {"comms_logger.debug", kBool, "false", "", kNoEffect, "names of callers"},
      {"comms_logger.prof_ops", kList, "[]", "", kNoEffect, "collectives that are logged"},
      {"vocabulary_size", kInt, "null", "> 0", kNoEffect, "only a hint in DeepSpeed too"},
  };
  return kKeys;
}

}  // namespace llama_zero::schema_tables
