#include "launcher/lab/lab_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/error.h"
#include "launcher/lab/lab_plan.h"

namespace llama_zero::lab {
namespace {

using Json = nlohmann::json;

std::string text_of(const fs::path& path) { return std::string(MappedFile(path).text()); }

std::string line_of(const fs::path& path) {
  std::string text = text_of(path);
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text;
}

// Numbers that were not finite are null.
double number(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number() ? found->get<double>() : 0.0;
}

Step read_step(const Json& line) {
  Step step;
  step.step = line.at("step").get<std::int64_t>();
  step.loss = number(line, "loss");
  step.lr = number(line, "lr");
  step.step_ms = number(line, "step_ms");
  step.tokens_per_second = number(line, "tokens_per_s");
  step.comm_bytes = number(line, "comm_bytes");
  step.comm_ms = number(line, "comm_ms");
  step.wait_ms = number(line, "wait_ms");
  return step;
}

Memory read_memory(const Json& json) {
  return {json.at("peak_bytes").get<std::size_t>(), json.at("labels").get<std::map<std::string, std::size_t>>()};
}

std::map<std::string, Traffic> read_traffic(const Json& json) {
  std::map<std::string, Traffic> traffic;
  for (const auto& [kind, entry] : json.items()) {
    traffic[kind] = {number(entry, "calls"), number(entry, "bytes"), number(entry, "ms"), number(entry, "wait_ms")};
  }
  return traffic;
}

bool offloads(const Json& zero, const char* key) {
  const auto found = zero.find(key);
  return found != zero.end() && found->value("device", "none") != "none";
}

void read_config(const Json& config, Run& run) {
  run.micro_batch = config.at("train_micro_batch_size_per_gpu").get<std::int64_t>();
  run.accumulation = config.at("gradient_accumulation_steps").get<std::int64_t>();
  run.sequence_length = config.at("llama_zero").at("sequence_length").get<std::int64_t>();
  const Json zero = config.value("zero_optimization", Json::object());
  run.stage = zero.value("stage", 0);
  // DeepSpeed's default: stage 3 overlaps.
  const auto overlap = zero.find("overlap_comm");
  run.overlap = overlap != zero.end() && overlap->is_boolean() ? overlap->get<bool>() : run.stage == 3;
  run.offload_optimizer = offloads(zero, "offload_optimizer");
  run.offload_param = offloads(zero, "offload_param");
}

void read_summary(const Json& summary, Run& run) {
  run.model = summary.at("model").get<std::string>();
  run.device = summary.at("device").get<std::string>();
  run.parameters = summary.at("parameters").get<std::int64_t>();
  run.ranks = summary.at("ranks").get<int>();
  run.seconds = number(summary, "seconds");
  run.collectives = read_traffic(summary.at("communication"));
  run.copies = read_traffic(summary.at("host_copies"));
  const Json& memory = summary.at("memory");
  run.planned = read_memory(memory.at("planned"));
  run.measured = read_memory(memory.at("measured"));
  // Only there when states were offloaded.
  if (memory.contains("host_planned")) run.planned_host = read_memory(memory.at("host_planned"));
  if (memory.contains("host_measured")) run.measured_host = read_memory(memory.at("host_measured"));
}

template <typename Read>
void read_file(const fs::path& path, Read&& read) {
  const std::string text = text_of(path);
  try {
    read(text);
  } catch (const Json::exception& error) {
    fail("{} is not what a run of llama_zero writes: {}", path.string(), error.what());
  }
}

// The number of ranks, then a word a line.
void plan_failed(const fs::path& file, Run& run) {
  if (!fs::exists(file)) return;
  std::istringstream in(text_of(file));
  std::string line;
  std::getline(in, line);
  run.ranks = std::max(1, std::atoi(line.c_str()));
  std::vector<std::string> words;
  while (std::getline(in, line)) words.push_back(line);
  plan_run(words, run);
}

Run read_run(const fs::path& folder) {
  Run run;
  run.name = folder.filename().string();
  run.command = line_of(folder / "command.txt");
  const bool failed = fs::exists(folder / "failed.txt");
  if (failed || !fs::exists(folder / "summary.json")) {
    run.failure = failed ? line_of(folder / "failed.txt") : std::string("it was cut off before its end");
    if (run.failure.empty()) run.failure = "no message";
    plan_failed(folder / "words.txt", run);
    return run;
  }
  read_file(folder / "config.json", [&](const std::string& text) { read_config(Json::parse(text), run); });
  read_file(folder / "summary.json", [&](const std::string& text) { read_summary(Json::parse(text), run); });
  read_file(folder / "metrics.jsonl", [&](const std::string& text) {
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) run.steps.push_back(read_step(Json::parse(line)));
  });
  return run;
}

double percent_of_time(const Run& run, double Step::*part) {
  double part_ms = 0.0, all_ms = 0.0;
  for (const Step& step : warm_steps(run)) {
    part_ms += step.*part;
    all_ms += step.step_ms;
  }
  return all_ms > 0.0 ? 100.0 * part_ms / all_ms : 0.0;
}

double median_of(const Run& run, double Step::*value) {
  std::vector<Step> steps = warm_steps(run);
  if (steps.empty()) return 0.0;
  std::ranges::sort(steps, {}, value);
  const std::size_t middle = steps.size() / 2;
  if (steps.size() % 2 == 1) return steps[middle].*value;
  return (steps[middle - 1].*value + steps[middle].*value) / 2.0;
}

}  // namespace

std::vector<Run> read_runs(const fs::path& folder) {
  std::vector<fs::path> folders;
  if (!fs::is_directory(folder)) return {};
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (fs::exists(entry.path() / "command.txt")) folders.push_back(entry.path());
  }
  std::ranges::sort(folders);
  std::vector<Run> runs;
  for (const fs::path& path : folders) runs.push_back(read_run(path));
  return runs;
}

std::vector<Run> finished(const std::vector<Run>& runs) {
  std::vector<Run> some;
  std::ranges::copy_if(runs, std::back_inserter(some), &Run::finished);
  return some;
}

std::vector<Step> warm_steps(const Run& run) {
  const std::size_t skip = run.steps.size() > 3 ? 2 : run.steps.size() > 1 ? 1 : 0;
  return {run.steps.begin() + static_cast<std::ptrdiff_t>(skip), run.steps.end()};
}

double tokens_per_second(const Run& run) { return median_of(run, &Step::tokens_per_second); }
double median_step_ms(const Run& run) { return median_of(run, &Step::step_ms); }

double communication_percent(const Run& run) { return percent_of_time(run, &Step::comm_ms); }
double waiting_percent(const Run& run) { return percent_of_time(run, &Step::wait_ms); }

double bytes_a_step(const Run& run, const std::map<std::string, Traffic>& traffic) {
  double bytes = 0.0;
  for (const auto& [kind, entry] : traffic) bytes += entry.bytes;
  return run.steps.empty() ? 0.0 : bytes / static_cast<double>(run.steps.size());
}

std::string stage_name(const Run& run) {
  std::string name = run.stage == 0 ? std::string("standard (stage 0)") : fmt::format("ZeRO-{}", run.stage);
  if (run.offload_optimizer && run.offload_param) return name + " + both offloads";
  if (run.offload_optimizer) return name + " + offload";
  return name;
}

std::string short_name(const Run& run) {
  return run.stage == 0 && !run.offload_optimizer ? std::string("standard") : stage_name(run);
}

bool on_cpu(const Run& run) { return run.device.starts_with("CPU"); }

}  // namespace llama_zero::lab
