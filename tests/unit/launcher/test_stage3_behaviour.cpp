// Stage 3's limits and offload_param, from the JSON to what a rank of four holds.
#include "kernels/ops.h"
#include "launcher/engine_options.h"
#include "launcher/model_source.h"
#include "launcher/plan_case.h"
#include "model/param_table.h"
#include "test_config_support.h"

using namespace llama_zero;
using namespace llama_zero::config_test;

namespace {

constexpr int kRanks = 4;

MemoryForecast with_stage3(std::string_view members) {
  std::string all(members);
  if (!contains(all, "param_persistence")) all += R"(, "stage3_param_persistence_threshold": 0)";
  const std::string text = fmt::format(R"({{"fp16": {{"enabled": true}}, "train_micro_batch_size_per_gpu": 1,
      "zero_optimization": {{"stage": 3, {}}}}})",
                                       all);
  const ParamTable table(preset_config("tiny"));
  const PlanCase plan_case = plan_case_of(resolve_text(text, kRanks), kRanks, true);
  return forecast_memory(table, plan_case, *make_cpu_ops(1), largest_step(plan_case));
}

std::size_t label(const MemoryReport& report, const std::string& name) {
  const auto at = report.peak_by_label.find(name);
  return at == report.peak_by_label.end() ? 0 : at->second;
}

std::size_t leases(std::string_view members) { return label(with_stage3(members).device, "leases"); }

}  // namespace

TEST_CASE("without overlap_comm nothing is gathered ahead") {
  constexpr std::string_view kAhead = R"("stage3_prefetch_bucket_size": 1e9, "stage3_max_reuse_distance": 0)";
  const std::size_t on = leases(fmt::format(R"({}, "overlap_comm": true)", kAhead));
  const std::size_t off = leases(fmt::format(R"({}, "overlap_comm": false)", kAhead));
  CHECK(off < on);
  CHECK(off == leases(R"("stage3_prefetch_bucket_size": 0, "stage3_max_reuse_distance": 0)"));
  CHECK(leases(kAhead) == on);  // the default at stage 3
  for (const int stage : {0, 1, 2, 3}) {
    const std::string text = fmt::format(R"({{"zero_optimization": {{"stage": {}, "overlap_comm": null}}}})", stage);
    CHECK(engine_options_of(resolve_text(text, kRanks)).overlap_comm == (stage == 3));
  }
}

TEST_CASE("the model threshold caps what persistence keeps gathered") {
  constexpr std::string_view kPersistent = R"("stage3_prefetch_bucket_size": 0, "stage3_max_reuse_distance": 0,
      "stage3_param_persistence_threshold": 1e9)";
  const std::size_t all = leases(kPersistent);
  const std::size_t none = leases(fmt::format(R"({}, "stage3_model_persistence_threshold": 0)", kPersistent));
  const std::size_t some = leases(fmt::format(R"({}, "stage3_model_persistence_threshold": 120000)", kPersistent));
  CHECK(none < all);
  CHECK(none < some);
  CHECK(some < all);
}

TEST_CASE("live limit and reuse distance bound what stage 3 holds gathered") {
  constexpr std::string_view kNoReuse = R"("stage3_prefetch_bucket_size": 1e9, "stage3_max_reuse_distance": 0)";
  constexpr std::string_view kReuse = R"("stage3_prefetch_bucket_size": 0, "stage3_max_reuse_distance": 1e9)";
  constexpr std::string_view kNeither = R"("stage3_prefetch_bucket_size": 0, "stage3_max_reuse_distance": 0)";
  const auto limited = [](std::string_view members) {
    return leases(fmt::format(R"({}, "stage3_max_live_parameters": 1)", members));
  };
  CHECK(leases(kNoReuse) > leases(kNeither));
  CHECK(leases(kReuse) > leases(kNeither));
  CHECK(limited(kNoReuse) == leases(kNeither));
  CHECK(limited(kReuse) == leases(kNeither));
}

TEST_CASE("max_in_cpu leaves the rest of the weights on the device") {
  const MemoryForecast all = with_stage3(R"("offload_param": {"device": "cpu"})");
  const MemoryForecast none = with_stage3(R"("offload_param": {"device": "cpu", "max_in_cpu": 0})");
  const MemoryForecast some = with_stage3(R"("offload_param": {"device": "cpu", "max_in_cpu": 3e4})");
  CHECK(label(none.host, "host weights") == 0);
  CHECK(label(some.host, "host weights") > 0);
  CHECK(label(some.host, "host weights") <= 60000);
  CHECK(label(some.host, "host weights") < label(all.host, "host weights"));
  CHECK(label(some.host, "host weights") + label(some.device, "weights") == label(none.device, "weights"));
}

TEST_CASE("cpu_checkpointing keeps block inputs in host memory") {
  const auto forecast = [](bool on_host) {
    const std::string text = fmt::format(R"({{"activation_checkpointing": {{"mode": "full", "cpu_checkpointing": {}}},
        "train_micro_batch_size_per_gpu": 1}})",
                                         on_host);
    const ParamTable table(preset_config("tiny"));
    const PlanCase plan_case = plan_case_of(resolve_text(text, kRanks), kRanks, true);
    return forecast_memory(table, plan_case, *make_cpu_ops(1), largest_step(plan_case));
  };
  const MemoryForecast device = forecast(false), host = forecast(true);
  CHECK(label(device.host, "host activations") == 0);
  CHECK(label(host.host, "host activations") > 0);
  CHECK(label(host.host, "host activations") ==
        label(device.device, "activations") - label(host.device, "activations"));
}
