#include "launcher/plan_compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "launcher/plan_backend.h"
#include "launcher/plan_estimator.h"
#include "launcher/progress.h"

namespace llama_zero {
namespace {

struct Variant {
  const char* name;
  int stage;
  bool optimizer, parameters;  ///< on the host
};

constexpr std::array<Variant, 8> kVariants = {Variant{"standard (stage 0)", 0, false, false},
                                              Variant{"ZeRO-1", 1, false, false},
                                              Variant{"ZeRO-2", 2, false, false},
                                              Variant{"ZeRO-3", 3, false, false},
                                              Variant{"ZeRO-1, optimizer on host", 1, true, false},
                                              Variant{"ZeRO-2, optimizer on host", 2, true, false},
                                              Variant{"ZeRO-3, optimizer on host", 3, true, false},
                                              Variant{"ZeRO-3, parameters too", 3, true, true}};
constexpr std::array<int, 4> kRanks = {1, 2, 4, 8};
constexpr double kGb = 1024.0 * 1024.0 * 1024.0;
// So that no plan makes its passes smaller or looks for changes: all cells are of the same passes.
constexpr double kEnoughGb = 1e9;

const char* device_name(bool on_host) { return on_host ? "cpu" : "none"; }

void set(PlanArguments& arguments, const std::string& key, const std::string& value) {
  arguments.train.flags.overrides.push_back({key, value, "--compare", false});
}

PlanArguments arguments_of(const PlanArguments& described, const PlanResult& base, const Variant& variant, int ranks) {
  PlanArguments arguments = described;
  arguments.ranks = ranks;
  arguments.memory_gb = kEnoughGb;
  arguments.ranks_per_host = std::min(ranks, described.ranks_per_host);
  const auto number = [&](const std::string& key, std::int64_t value) { set(arguments, key, std::to_string(value)); };
  set(arguments, "train_batch_size", "auto");
  number("train_micro_batch_size_per_gpu", base.plan_case.micro_batch);
  number("gradient_accumulation_steps", base.plan_case.accumulation);
  if (base.plan_case.coalesce) number("llama_zero.max_tokens_per_pass", base.plan_case.max_tokens_per_pass);
  number("zero_optimization.stage", variant.stage);
  set(arguments, "zero_optimization.offload_optimizer.device", device_name(variant.optimizer));
  set(arguments, "zero_optimization.offload_param.device", device_name(variant.parameters));
  return arguments;
}

std::string gb(std::size_t bytes) { return fmt::format("{:.2f}", static_cast<double>(bytes) / kGb); }

/// A line of cells under the heading of the ranks.
template <typename Text>
std::string line(const PlanComparison::Row& row, const Text& text) {
  std::string out = fmt::format("  {:<28}", row.name);
  for (const PlanCell& cell : row.cells) out += fmt::format(" {:>11}", text(cell));
  return out + "\n";
}

std::string heading(const PlanComparison& comparison, const std::string& what) {
  std::string text = fmt::format("\n{}\n  {:<28}", what, "ranks");
  for (const int ranks : comparison.ranks) text += fmt::format(" {:>11}", ranks);
  return text + "\n";
}

std::string device_table(const PlanComparison& comparison) {
  const std::optional<std::size_t>& memory = comparison.memory_bytes;
  const std::string limit = memory ? fmt::format("; ! is more than the {} GB there are", gb(*memory)) : std::string();
  std::string text = heading(comparison, "device memory of each rank at its peak, GB" + limit);
  for (const PlanComparison::Row& row : comparison.rows) {
    text += line(row,
                 [&](const PlanCell& cell) { return gb(cell.device) + (memory && cell.device > *memory ? " !" : ""); });
  }
  return text;
}

bool has_host(const PlanComparison::Row& row) {
  return std::ranges::any_of(row.cells, [](const PlanCell& cell) { return cell.host > 0; });
}

std::string host_table(const PlanComparison& comparison) {
  if (std::ranges::none_of(comparison.rows, has_host)) return "";
  std::string text = heading(comparison, "host memory of each rank beside it, GB");
  for (const PlanComparison::Row& row : comparison.rows) {
    if (has_host(row)) text += line(row, [](const PlanCell& cell) { return gb(cell.host); });
  }
  return text;
}

std::string formulas(const PlanComparison& comparison) {
  const std::int64_t params = comparison.base.params;
  PlanComparison::Row standard{"16 P", {}}, zero{"2 P + 14 P / N", {}};
  for (const int ranks : comparison.ranks) {
    standard.cells.push_back({static_cast<std::size_t>(lab_standard_bytes(params)), 0});
    zero.cells.push_back({static_cast<std::size_t>(lab_zero_bytes(params, ranks)), 0});
  }
  const auto text = [](const PlanCell& cell) { return gb(cell.device); };
  return heading(comparison, "the lab's formulas, without activations and buffers, GB") + line(standard, text) +
         line(zero, text);
}

std::optional<std::size_t> memory_of_device(const PlanArguments& arguments, const RunSection& run) {
  if (arguments.memory_gb > 0.0) return static_cast<std::size_t>(arguments.memory_gb * kGb);
  const PlanBackend backend = make_plan_backend(run.device, run.attention, 1);
  return backend.device == DeviceType::kCuda ? backend.memory_bytes : std::nullopt;
}

}  // namespace

PlanComparison compare_plans(const PlanArguments& arguments) {
  PlanComparison comparison;
  PlanArguments enough = arguments;
  enough.memory_gb = kEnoughGb;
  comparison.base = make_plan(enough);
  comparison.memory_bytes = memory_of_device(arguments, comparison.base.config.run);
  comparison.ranks.assign(kRanks.begin(), kRanks.end());
  for (const Variant& variant : kVariants) {
    PlanComparison::Row& row = comparison.rows.emplace_back(PlanComparison::Row{variant.name, {}});
    for (const int ranks : kRanks) {
      const PlanResult plan = make_plan(arguments_of(arguments, comparison.base, variant, ranks));
      row.cells.push_back({plan.forecast.device.peak_bytes, plan.forecast.host.peak_bytes});
    }
  }
  return comparison;
}

std::string format_comparison(const PlanComparison& comparison) {
  const PlanCase& base = comparison.base.plan_case;
  std::string text =
      fmt::format("{:<10}{}\n{:<10}{}\n", "model", comparison.base.model, "backend", comparison.base.backend);
  text += fmt::format("{:<10}{} micro x {} accumulation on each rank, passes of at most {} tokens\n", "batch",
                      base.micro_batch, base.accumulation, format_count(base.max_tokens_per_pass));
  return text + device_table(comparison) + host_table(comparison) + formulas(comparison);
}

}  // namespace llama_zero
