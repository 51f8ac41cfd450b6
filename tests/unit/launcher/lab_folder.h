// Runs as scripts/lab leaves them, written by hand.
#pragma once

#include <cstdint>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "core/files.h"

namespace llama_zero::test {

inline void write_lab_file(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << text;
}

struct LabRunFiles {
  int stage = 0, ranks = 1, micro = 1, accumulation = 1;
  bool offload = false, overlap = false;
  double tokens_per_second = 1000.0;    ///< of every step but the first two, which are ten times slower
  double comm_ms = 0.0, wait_ms = 0.0;  ///< of each step
  std::size_t planned = 1000, measured = 1000;
  std::size_t host = 0;      ///< planned and measured
  std::size_t gathered = 0;  ///< bytes of all all-gathers together
  std::int64_t parameters = 100;
};

inline void write_lab_run(const fs::path& folder, const LabRunFiles& run) {
  using Json = nlohmann::ordered_json;
  write_lab_file(folder / "command.txt", "llama_zero --set a<b\n");
  Json config;
  config["train_micro_batch_size_per_gpu"] = run.micro;
  config["gradient_accumulation_steps"] = run.accumulation;
  config["llama_zero"]["sequence_length"] = 512;
  Json& zero = config["zero_optimization"];
  zero["stage"] = run.stage;
  zero["overlap_comm"] = run.overlap;
  zero["offload_optimizer"]["device"] = run.offload ? "cpu" : "none";
  write_lab_file(folder / "config.json", config.dump());

  Json summary = {{"model", "tiny"}, {"parameters", run.parameters}, {"device", "CPU (one)"}, {"ranks", run.ranks}};
  summary["seconds"] = 1.5;
  const auto memory = [](std::size_t bytes) {
    return Json{{"peak_bytes", bytes}, {"labels", {{"weights", bytes / 2}}}};
  };
  summary["memory"] = {{"planned", memory(run.planned)}, {"measured", memory(run.measured)}};
  if (run.host > 0) summary["memory"]["host_planned"] = summary["memory"]["host_measured"] = memory(run.host);
  summary["communication"] = Json::object();
  if (run.gathered > 0) {
    summary["communication"]["all_gather"] = {{"calls", 10}, {"bytes", run.gathered}, {"ms", 5.0}, {"wait_ms", 2.5}};
  }
  summary["host_copies"] = {{"copy_to_host", {{"calls", 5}, {"bytes", 5000000}, {"ms", 1.0}, {"wait_ms", 0.5}}}};
  write_lab_file(folder / "summary.json", summary.dump());

  std::string steps;
  for (int step = 1; step <= 5; ++step) {
    const double slower = step <= 2 ? 10.0 : 1.0;
    Json line;
    line["step"] = step;
    line["loss"] = 7.0 - step;
    line["lr"] = 0.001;
    line["skipped"] = false;
    line["tokens_per_s"] = run.tokens_per_second / slower;
    line["step_ms"] = 10.0 * slower;
    line["comm_bytes"] = 1000;
    line["comm_ms"] = run.comm_ms;
    line["wait_ms"] = run.wait_ms;
    steps += line.dump() + "\n";
  }
  write_lab_file(folder / "metrics.jsonl", steps);
}

}  // namespace llama_zero::test
