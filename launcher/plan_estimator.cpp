#include "launcher/plan_estimator.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

namespace llama_zero {
namespace {

constexpr double kGb = 1024.0 * 1024.0 * 1024.0;

/// Bytes as DeepSpeed computes them: in floating point, cut to an integer.
std::int64_t cut(double bytes) { return static_cast<std::int64_t>(bytes); }

/// The hardware and the rows, after DeepSpeed's first line.
std::string format(const EstimatorInput& input, std::string_view model, const std::vector<EstimatorRow>& rows) {
  const auto many = [](int count, std::string_view word) {
    return fmt::format("{} {}{}", count, word, count > 1 ? "s" : "");
  };
  std::string text = "Estimated memory needed for params, optim states and gradients for a:\n";
  text += fmt::format("HW: Setup with {}, {} per node.\n", many(input.nodes, "node"), many(input.gpus_per_node, "GPU"));
  text += fmt::format("SW: Model with {}.\n  per CPU  |  per GPU |   Options\n", model);
  for (const EstimatorRow& row : rows) {
    text += fmt::format("  {:7.2f}GB | {:6.2f}GB | {}\n", static_cast<double>(row.cpu_bytes) / kGb,
                        static_cast<double>(row.gpu_bytes) / kGb, row.options);
  }
  return text;
}

std::int64_t millions(std::int64_t count) { return count / 1000000; }

}  // namespace

EstimatorInput estimator_input(const ParamTable& table, int gpus_per_node, int nodes) {
  EstimatorInput input;
  input.params = table.total_numel();
  // Hugging Face's modules: Q, K, V, gate and up stand alone there.
  for (const Param& param : table.params()) {
    for (const HfSlice& slice : param.hf)
      input.largest_layer = std::max(input.largest_layer, slice.rows * param.columns);
  }
  input.gpus_per_node = gpus_per_node;
  input.nodes = nodes;
  return input;
}

std::vector<EstimatorRow> estimate_zero2(const EstimatorInput& input) {
  const auto params = static_cast<double>(input.params);
  const std::int64_t gpus = std::int64_t{input.gpus_per_node} * input.nodes;
  const double f = input.buffer_factor;
  const auto states = static_cast<double>(std::max<std::int64_t>(4 * gpus, 16));
  return {{"offload_optimizer=cpu ", cut(params * states * f), 2 * input.params},
          {"offload_optimizer=none", cut(params * 4.0 * input.gpus_per_node * f),
           2 * input.params + 18 * input.params / gpus}};
}

std::vector<EstimatorRow> estimate_zero3(const EstimatorInput& input) {
  const auto params = static_cast<double>(input.params);
  const auto largest = static_cast<double>(input.largest_layer);
  const std::int64_t gpus = std::int64_t{input.gpus_per_node} * input.nodes;
  const double g = input.gpus_per_node;
  const double share = 1.0 / input.nodes;
  const double f = input.buffer_factor;
  const std::int64_t live = 4 * input.largest_layer;
  const std::int64_t weights = live + 2 * input.params / gpus;
  const std::int64_t everything = live + 18 * input.params / gpus;
  return {
      {"offload_param=cpu , offload_optimizer=cpu , zero_init=1", cut(params * 18.0 * share * f), live},
      {"offload_param=cpu , offload_optimizer=cpu , zero_init=0", cut(params * std::max(4.0 * g, 18.0 * share) * f),
       live},
      {"offload_param=none, offload_optimizer=cpu , zero_init=1", cut(params * 16.0 * share * f), weights},
      {"offload_param=none, offload_optimizer=cpu , zero_init=0", cut(params * std::max(4.0 * g, 16.0 * share) * f),
       weights},
      {"offload_param=none, offload_optimizer=none, zero_init=1", cut(largest * 4.0 * g * f), everything},
      {"offload_param=none, offload_optimizer=none, zero_init=0", cut(params * 4.0 * g * f), everything},
  };
}

std::string format_zero2(const EstimatorInput& input) {
  return format(input, fmt::format("{}M total params", millions(input.params)), estimate_zero2(input));
}

std::string format_zero3(const EstimatorInput& input) {
  return format(
      input,
      fmt::format("{}M total params, {}M largest layer params", millions(input.params), millions(input.largest_layer)),
      estimate_zero3(input));
}

double lab_standard_bytes(std::int64_t params) { return 16.0 * static_cast<double>(params); }

double lab_zero_bytes(std::int64_t params, int ranks) { return static_cast<double>(params) * (2.0 + 14.0 / ranks); }

}  // namespace llama_zero
