#include "launcher/lab/lab_plan.h"

#include <string_view>
#include <system_error>

#include "core/error.h"
#include "launcher/bundled.h"
#include "launcher/plan_command.h"

namespace llama_zero::lab {
namespace {

Memory memory_of(const MemoryReport& report) {
  return {report.peak_bytes, {report.at_peak.begin(), report.at_peak.end()}};
}

std::string value_of(const ConfigFlags& flags, std::string_view key) {
  std::string value;
  for (const ConfigOverride& one : flags.overrides) {
    if (one.key == key) value = one.value;
  }
  return value;
}

// A plan keeps a preset's vocabulary unless a tokenizer is named; the run took that of the bundled one.
void name_tokenizer(ConfigFlags& flags) {
  std::error_code ignored;
  if (!value_of(flags, "llama_zero.tokenizer").empty()) return;
  if (fs::is_directory(value_of(flags, "llama_zero.model"), ignored)) return;
  flags.overrides.push_back({"llama_zero.tokenizer", bundled_tokenizer().string(), "--tokenizer", true});
}

PlanResult plan_of(const std::vector<std::string>& words, int ranks) {
  std::vector<const char*> argv = {"llama_zero", "plan"};
  for (const std::string& word : words) argv.push_back(word.c_str());
  PlanArguments arguments = parse_command_line(static_cast<int>(argv.size()), argv.data()).plan;
  name_tokenizer(arguments.train.flags);
  arguments.ranks = ranks;
  arguments.memory_gb = 1e9;  // it is known not to fit: no verdict, no advice
  return make_plan(arguments);
}

}  // namespace

bool plan_run(const std::vector<std::string>& words, Run& run) {
  try {
    const PlanResult plan = plan_of(words, run.ranks);
    run.model = plan.model;
    run.device = plan.backend;
    run.parameters = plan.params;
    run.stage = plan.config.zero.stage;
    run.micro_batch = plan.config.batch.micro_batch_size;
    run.accumulation = plan.config.batch.accumulation_steps;
    run.sequence_length = plan.config.run.sequence_length;
    run.offload_optimizer = plan.config.zero.offload_optimizer.enabled;
    run.offload_param = plan.config.zero.offload_param.enabled;
    run.overlap = plan.config.zero.overlap_comm;
    run.planned = memory_of(plan.forecast.device);
    run.planned_host = memory_of(plan.forecast.host);
    return true;
  } catch (const Error&) {
    return false;  // the run failed for what it was told: its own message says so
  }
}

}  // namespace llama_zero::lab
