#include <doctest/doctest.h>

#include <string>
#include <utility>

#include "launcher/plan_compare.h"
#include "launcher/plan_place.h"
#include "test_config_support.h"

using namespace llama_zero;
using namespace llama_zero::config_test;

namespace {

PlanArguments seven_billion(std::vector<std::string> sets = {}) {
  PlanArguments arguments;
  sets.insert(sets.end(), {"llama_zero.model=llama2-7b", "llama_zero.device=cpu", "llama_zero.sequence_length=1024"});
  arguments.train.flags = set_flags(sets);
  arguments.ranks = 1;
  arguments.memory_gb = 80.0;
  return arguments;
}

const PlanComparison::Row& row_of(const PlanComparison& comparison, const std::string& name) {
  for (const PlanComparison::Row& row : comparison.rows) {
    if (row.name == name) return row;
  }
  fail("no row {}", name);
}

}  // namespace

TEST_CASE("the comparison of 7B: every stage saves memory, and offloaded states lie in the host's column") {
  constexpr double kParams = 6738415616.0;
  const PlanComparison comparison = compare_plans(seven_billion());
  REQUIRE(comparison.ranks == std::vector<int>{1, 2, 4, 8});
  REQUIRE(comparison.rows.size() == 8);
  const auto device = [&](const std::string& name, std::size_t column) {
    return row_of(comparison, name).cells.at(column).device;
  };
  for (std::size_t column = 1; column < 4; ++column) {
    INFO(comparison.ranks[column] << " ranks");
    CHECK(device("standard (stage 0)", column) > device("ZeRO-1", column));
    CHECK(device("ZeRO-1", column) > device("ZeRO-2", column));
    CHECK(device("ZeRO-2", column) > device("ZeRO-3", column));
    CHECK(device("ZeRO-3", column) < device("ZeRO-3", column - 1));
    CHECK(device("ZeRO-2, optimizer on host", column) < device("ZeRO-2", column));
    CHECK(device("ZeRO-3, parameters too", column) < device("ZeRO-3, optimizer on host", column));
    // Masters, two moments and one copy of the 16-bit gradients: 14 bytes; with the weights 16. Up to 2 % more keep
    // large arrays out of one another's memory banks.
    const double share = kParams / comparison.ranks[column];
    const auto host = [&](const std::string& name) {
      return static_cast<double>(row_of(comparison, name).cells[column].host);
    };
    for (const auto& [name, bytes] : {std::pair("ZeRO-2, optimizer on host", 14.0), {"ZeRO-3, parameters too", 16.0}}) {
      CHECK(host(name) >= bytes * share);
      CHECK(host(name) <= 1.02 * bytes * share);
    }
    CHECK(host("ZeRO-3") == 0);
  }
}

TEST_CASE("a cell of the comparison is the plan of that run") {
  const PlanComparison comparison = compare_plans(seven_billion({"train_micro_batch_size_per_gpu=2"}));
  PlanArguments one = seven_billion({"train_micro_batch_size_per_gpu=2", "zero_optimization.stage=2",
                                     "zero_optimization.offload_optimizer.device=cpu"});
  one.ranks = 4;
  one.memory_gb = 1e6;
  const PlanResult plan = make_plan(one);
  const PlanCell& cell = row_of(comparison, "ZeRO-2, optimizer on host").cells.at(2);
  CHECK(cell.device == plan.forecast.device.peak_bytes);
  CHECK(cell.host == plan.forecast.host.peak_bytes);
}

TEST_CASE("the comparison keeps a config's micro-batch and accumulation where its train_batch_size would not divide") {
  const PlanComparison comparison =
      compare_plans(seven_billion({"train_batch_size=3", "train_micro_batch_size_per_gpu=1"}));
  CHECK(comparison.base.plan_case.micro_batch == 1);
  CHECK(comparison.base.plan_case.accumulation == 3);
  const std::string text = format_comparison(comparison);
  CHECK(contains(text, "1 micro x 3 accumulation on each rank"));
  CHECK(contains(text, "! is more than the 80.00 GB there are"));
  CHECK(contains(text, "host memory of each rank beside it, GB"));
  CHECK(contains(text, "2 P + 14 P / N"));
}

TEST_CASE("a plan's bytes count against the memory where they lie: on the CPU all against the host") {
  MemoryPlan plan;
  plan.arena.peak_bytes = 100;
  plan.workspace_bytes = 20;
  plan.host.peak_bytes = 7;
  CHECK(bytes_on_device(plan, DeviceType::kCuda) == 120);
  CHECK(bytes_on_host(plan, DeviceType::kCuda) == 7);
  CHECK(bytes_on_device(plan, DeviceType::kCpu) == 127);
  CHECK(bytes_on_host(plan, DeviceType::kCpu) == 127);
  PlanResult result;
  result.forecast.device.peak_bytes = 100;
  result.forecast.host.peak_bytes = 50;
  result.memory_bytes = 120;
  CHECK_FALSE(result.fits());
  result.plan_case.can_offload = true;
  CHECK(result.fits());
}
