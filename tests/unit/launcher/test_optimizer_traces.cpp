// tests/data/traces/optimizers.json, which scripts/trace_optimizers.py made with PyTorch: the same config and gradients
// here give the same weights.
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/files.h"
#include "optimizer_run.h"
#include "test_config_support.h"
#include "tests/support/source_folder.h"

using namespace llama_zero;
using namespace llama_zero::config_test;
using nlohmann::json;

namespace {

constexpr double kUnit = 0x1p-24;  // rounding of fp32

json read_traces() {
  return json::parse(MappedFile(test::source_folder() / "tests/data/traces/optimizers.json").text());
}

TrainConfig config_of(const json& trace, std::size_t updates) {
  json text;
  text["optimizer"] = {{"type", trace["type"]}, {"params", trace["params"]}};
  text["scheduler"] = {{"type", "constant"}};
  text["llama_zero"] = {{"max_steps", updates}};
  return resolve_text(text.dump());
}

std::vector<ScheduleRow> rows_of(const json& trace, const TrainConfig& config) {
  std::vector<ScheduleRow> rows = schedule_rows(config);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (trace.contains("rates")) rows[i].lr = trace["rates"][i];
    if (!trace.contains("betas")) continue;
    rows[i].beta1 = trace["betas"][i][0];
    rows[i].beta2 = trace["betas"][i][1];
    rows[i].bias_correction1 = 1.0 - std::pow(rows[i].beta1, static_cast<double>(i + 1));
    rows[i].bias_correction2_sqrt = std::sqrt(1.0 - std::pow(rows[i].beta2, static_cast<double>(i + 1)));
  }
  return rows;
}

/// What one update's direction may be wrong by in fp32, in units of kUnit. N = 100 updates, G the largest gradient.
double direction_bound(const OptimizerConfig& optimizer) {
  constexpr double kUpdates = 100.0;
  constexpr double kLargest = 6.5;  // of the gradients in the file
  switch (optimizer.kind) {
    case OptimizerKind::kAdamW:
    case OptimizerKind::kAdam:
      // v's terms are all positive and each is rounded twice an update, so its root is right to N units; the direction
      // is at most (1 - b1) / sqrt(1 - b2) < 3.2. m may cancel: its error is at most (2 / (1 - b1) + 2) units of the
      // largest gradient yet, which is at most sqrt(v / (1 - b2)): 22 * 32 with the default betas, less with all others
      // here.
      return 3.2 * (kUpdates + 8.0) + 22.0 * 32.0;
    case OptimizerKind::kLion:
      return 3.0;  // the sign is exact, or the weights differ by 2 lr and the test fails
    case OptimizerKind::kAdagrad:
      return kUpdates + 8.0;  // the root as Adam's; |g| <= sqrt(sum)
    case OptimizerKind::kSgd:
      break;
  }
  const double gain = 1.0 / (1.0 - optimizer.momentum);  // |buffer| <= gain * G, its error <= 3 * gain units of that
  return (3.0 * gain + 4.0) * gain * kLargest;
}

double largest(const std::vector<double>& values) {
  double most = 0.0;
  for (const double value : values) most = std::max(most, std::fabs(value));
  return most;
}

}  // namespace

TEST_CASE("100 updates of every optimizer equal PyTorch's in fp64 to 1e-12") {
  const json file = read_traces();
  const auto first = file["first_weights"].get<std::vector<double>>();
  CHECK(file["traces"].size() >= 16);
  for (const json& trace : file["traces"]) {
    INFO(trace["type"].dump(), " ", trace["params"].dump());
    const TrainConfig config = config_of(trace, file["gradients"].size());
    test::OptimizerRun<double> run(optimizer_options(config.optimizer), rows_of(trace, config), first);
    double worst = 0.0;
    for (std::size_t update = 0; update < file["gradients"].size(); ++update) {
      run.step(file["gradients"][update].get<std::vector<double>>());
      for (std::size_t i = 0; i < first.size(); ++i) {
        worst = std::max(worst, std::fabs(run.weights()[i] - trace["weights"][update][i].get<double>()));
      }
    }
    CHECK(worst <= 1e-12);
    REQUIRE(run.states().size() == trace["states"].size());
    for (const auto& [name, values] : run.states()) {
      for (std::size_t i = 0; i < values.size(); ++i) {
        CHECK(values[i] == doctest::Approx(trace["states"][name][i].get<double>()).epsilon(1e-12));
      }
    }
  }
}

TEST_CASE("100 updates of every optimizer in fp32 stay within the rounding bound of PyTorch's fp64") {
  const json file = read_traces();
  const auto first = file["first_weights"].get<std::vector<double>>();
  for (const json& trace : file["traces"]) {
    const TrainConfig config = config_of(trace, file["gradients"].size());
    const std::vector<ScheduleRow> rows = rows_of(trace, config);
    test::OptimizerRun<float> run(optimizer_options(config.optimizer), rows, first);
    double bound = 0.0;
    for (std::size_t update = 0; update < file["gradients"].size(); ++update) {
      run.step(file["gradients"][update].get<std::vector<double>>());
      const auto expected = trace["weights"][update].get<std::vector<double>>();
      // The weight is rounded once; lr, decay and direction are rounded too.
      bound +=
          kUnit * (largest(expected) + rows[update].lr * (direction_bound(config.optimizer) +
                                                          4.0 * config.optimizer.weight_decay * largest(expected)));
      for (std::size_t i = 0; i < first.size(); ++i) {
        const double difference = std::fabs(static_cast<double>(run.weights()[i]) - expected[i]);
        INFO(trace["type"].dump(), " ", trace["params"].dump(), " update ", update + 1, " weight ", i, ": ", difference,
             " of ", bound);
        CHECK(difference <= bound);
      }
    }
  }
}
