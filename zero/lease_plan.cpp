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
std::int64_t most_ahead_in(const LeaseProblem& problem, const LeaseOptions& options, const std::vector<int>& order) {
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

/// The same in both directions.
std::int64_t most_ahead(const LeaseProblem& problem, const LeaseOptions& options, std::vector<int> order) {
  if (!options.overlap) return 0;
  const std::int64_t forward = most_ahead_in(problem, options, order);
  std::reverse(order.begin(), order.end());
  return std::max(forward, most_ahead_in(problem, options, order));
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

/// Of `units`, of which the largest takes `slot_elements`: how many are there at once. Slots are equal, so where units
/// are not, the prefetch bucket bounds memory rather than what is in it.
std::int64_t moving_units(const LeaseProblem& problem, const LeaseOptions& options, const std::vector<int>& units,
                          std::int64_t slot_elements, std::int64_t most_slots) {
  const auto count = static_cast<std::int64_t>(units.size());
  if (count == 0) return 0;
  const std::int64_t least = std::min<std::int64_t>(count, problem.tied ? 2 : 1);
  const std::int64_t most = std::clamp<std::int64_t>(most_slots, least, count);
  const std::int64_t fit = std::max<std::int64_t>(1, options.prefetch_bucket_size / slot_elements);
  return std::clamp<std::int64_t>(1 + std::min(fit, most_ahead(problem, options, units)), least, most);
}

std::int64_t largest_padded(const LeaseProblem& problem, const std::vector<int>& units) {
  std::int64_t largest = 0;
  for (const int unit : units) largest = std::max(largest, problem.layout[unit].padded());
  return largest;
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
  std::vector<int> units = leased_units(problem);
  const std::int64_t moving = moving_units(problem, options, units, largest_padded(problem, units), most_slots);
  std::int64_t largest = 0;
  for (const int unit : units) largest = std::max(largest, problem.layout[unit].numel);
  plan.kept = kept_units(problem, options, largest, most_slots - moving);
  std::erase_if(units, [&](int unit) { return plan.kept[index(unit)]; });
  plan.slot_elements = largest_padded(problem, units);
  plan.slots = static_cast<int>(moving_units(problem, options, units, plan.slot_elements, most_slots));
  return plan;
}

std::string live_limit_warning(const ParamTable& table, std::int64_t max_live_parameters) {
  std::int64_t largest = 0;
  for (const Unit& unit : table.units()) largest = std::max(largest, unit.numel);
  if (max_live_parameters >= largest) return {};
  return fmt::format(
      "zero_optimization.stage3_max_live_parameters = {} is less than the largest unit: {} are gathered at a time, and "
      "none ahead",
      max_live_parameters, largest);
}

}  // namespace llama_zero
