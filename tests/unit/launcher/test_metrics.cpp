#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/error.h"
#include "launcher/metrics.h"

namespace llama_zero {
namespace {

StepReport sample_report() {
  StepReport report;
  report.step = 12;
  report.total_steps = 600;
  report.loss = 2.5;
  report.lr = 1e-3;
  report.grad_norm = 0.75;
  report.loss_scale = 65536;
  report.samples = 384;
  report.tokens = 40000;
  report.tokens_per_second = 1234.5;
  report.step_ms = 85.0;
  report.mem_peak_bytes = 1048576;
  report.comm_bytes = 4096;
  report.comm_ms = 1.5;
  report.wait_ms = 0.5;
  report.epoch = 0.25;
  return report;
}

std::vector<std::string> lines_of(const fs::path& path) {
  std::ifstream in(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

}  // namespace

TEST_CASE("a metrics line holds exactly the documented keys in order") {
  const auto json = nlohmann::ordered_json::parse(metrics_line(sample_report()));
  std::vector<std::string> keys;
  for (const auto& item : json.items()) keys.push_back(item.key());
  CHECK(keys == std::vector<std::string>{"step", "loss", "lr", "grad_norm", "loss_scale", "skipped", "samples",
                                         "tokens", "tokens_per_s", "step_ms", "mem_peak_bytes", "comm_bytes", "comm_ms",
                                         "wait_ms", "epoch"});
  CHECK(json["step"] == 12);
  CHECK(json["loss"] == 2.5);
  CHECK(json["skipped"] == false);
  CHECK(json["mem_peak_bytes"] == 1048576);
  CHECK(json["comm_bytes"] == 4096);
  CHECK(json["comm_ms"] == 1.5);
  CHECK(json["wait_ms"] == 0.5);
}

TEST_CASE("numbers of a metrics line survive to the last bit") {
  StepReport report = sample_report();
  report.loss = 0.1 + 0.2;
  const auto json = nlohmann::json::parse(metrics_line(report));
  CHECK(json["loss"].get<double>() == report.loss);
}

TEST_CASE("numbers that are not finite become null") {
  StepReport report = sample_report();
  report.loss = std::numeric_limits<double>::quiet_NaN();
  report.grad_norm = std::numeric_limits<double>::infinity();
  const auto json = nlohmann::json::parse(metrics_line(report));
  CHECK(json["loss"].is_null());
  CHECK(json["grad_norm"].is_null());
}

TEST_CASE("a metrics file has a line a step, readable before the run ends") {
  const fs::path path = fs::temp_directory_path() / "llama_zero_test_metrics.jsonl";
  {
    MetricsFile file(path);
    StepReport report = sample_report();
    file.write(report);
    CHECK(lines_of(path).size() == 1);
    report.step = 13;
    file.write(report);
    const auto lines = lines_of(path);
    REQUIRE(lines.size() == 2);
    CHECK(nlohmann::json::parse(lines[1])["step"] == 13);
  }
  fs::remove(path);
}

TEST_CASE("a full disk is an error that names the file and the step") {
  if (!fs::exists("/dev/full")) return;
  MetricsFile file("/dev/full");
  std::string message;
  try {
    file.write(sample_report());
  } catch (const Error& error) {
    message = error.what();
  }
  CHECK(message.find("/dev/full (step 12)") != std::string::npos);
  CHECK(message.find("No space left") != std::string::npos);
}

}  // namespace llama_zero
