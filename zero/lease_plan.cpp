#include "zero/lease_plan.h"

#include <fmt/format.h>

#include <algorithm>

namespace llama_zero {
namespace {

std::size_t index(int unit) { return static_cast<std::size_t>(unit); }

/// Elements that are used between the two uses of `unit`, a block (or, tied, the embedding), in a pass.
std::int64_t reuse_distance(const LeaseProblem& problem, int unit) {
  const int head = problem.layout.unit_count() - 1;
  std::int64_t above = 0;
  for (int other = unit + 1; other < head; ++other) above += problem.layout[other].numel;
  const std::int64_t head_elements = problem.layout[head].numel;
  if (unit == 0) return above + head_elements;
  return 2 * above + head_elements + (problem.tied ? problem.layout[0].numel : 0);
}

bool is_used_twice(const LeaseProblem& problem, int unit) {
  return unit < problem.layout.unit_count() - 1 && (unit > 0 || problem.tied);
}

/// The most units that are gathered ahead at once while one of `order` is used, when these follow one another.
std::int64_t most_ahead(const LeaseProblem& problem, const LeaseOptions& options, const std::vector<int>& order) {
  std::int64_t most = 0;
  for (std::size_t at = 0; at < order.size(); ++at) {
    const std::int64_t used = problem.layout[order[at]].numel;
    std::int64_t elements = 0, units = 0;
    for (std::size_t next = at + 1; next < order.size(); ++next) {
      if (elements >= options.prefetch_bucket_size || used + elements >= options.max_live_parameters) break;
      elements += problem.layout[order[next]].numel;
      units += 1;
    }
    most = std::max(most, units);
  }
  return most;
}

std::vector<int> leased_units(const LeaseProblem& problem) {
  std::vector<int> units;
  for (int unit = 0; unit < problem.layout.unit_count(); ++unit) {
    if (!problem.resident[index(unit)]) units.push_back(unit);
  }
  return units;
}

/// Units whose second use is nearest come first: `most` of them at most.
std::vector<bool> kept_units(const LeaseProblem& problem, const LeaseOptions& options, std::int64_t largest,
                             std::int64_t most) {
  std::vector<bool> kept(problem.resident.size(), false);
  std::int64_t live = largest;
  for (int unit = problem.layout.unit_count() - 1; unit >= 0 && most > 0; --unit) {
    if (problem.resident[index(unit)] || !is_used_twice(problem, unit)) continue;
    if (reuse_distance(problem, unit) >= options.max_reuse_distance) break;
    live += problem.layout[unit].numel;
    if (live > options.max_live_parameters) break;
    kept[index(unit)] = true;
    most -= 1;
  }
  return kept;
}

}  // namespace

std::vector<bool> persistent_units(const ParamTable& table, const LeaseOptions& options) {
  std::vector<bool> persistent;
  std::int64_t left = options.model_persistence_threshold;
  for (const Unit& unit : table.units()) {
    bool stays = unit.numel <= left;
    for (const int param : unit.params) {
      stays = stays && table.params()[index(param)].numel() <= options.param_persistence_threshold;
    }
    if (stays) left -= unit.numel;
    persistent.push_back(stays);
  }
  return persistent;
}

LeasePlan plan_leases(const LeaseProblem& problem, const LeaseOptions& options, std::int64_t most_slots) {
  LeasePlan plan;
  plan.kept.assign(problem.resident.size(), false);
  std::vector<int> order = leased_units(problem);
  if (order.empty()) return plan;
  std::int64_t largest = 0;
  for (const int unit : order) {
    largest = std::max(largest, problem.layout[unit].numel);
    plan.slot_elements = std::max(plan.slot_elements, problem.layout[unit].padded());
  }
  const auto units = static_cast<std::int64_t>(order.size());
  const std::int64_t least = std::min<std::int64_t>(units, problem.tied ? 2 : 1);
  const std::int64_t most = std::clamp<std::int64_t>(most_slots, least, units);
  std::int64_t ahead = 0;
  if (options.overlap) {
    ahead = most_ahead(problem, options, order);
    std::reverse(order.begin(), order.end());
    ahead = std::max(ahead, most_ahead(problem, options, order));
  }
  const std::int64_t moving = std::min(most, std::max(least, 1 + ahead));
  plan.kept = kept_units(problem, options, largest, most - moving);
  plan.slots = static_cast<int>(moving + std::count(plan.kept.begin(), plan.kept.end(), true));
  return plan;
}

std::string live_limit_warning(const ParamTable& table, const LeaseOptions& options) {
  std::int64_t largest = 0;
  for (const Unit& unit : table.units()) largest = std::max(largest, unit.numel);
  if (options.max_live_parameters >= largest) return {};
  return fmt::format(
      "zero_optimization.stage3_max_live_parameters = {} is less than the largest unit: {} are gathered at a time, and "
      "none ahead",
      options.max_live_parameters, largest);
}

}  // namespace llama_zero
