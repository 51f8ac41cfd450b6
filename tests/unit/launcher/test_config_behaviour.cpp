// Keys of "zero_optimization" and the like, from the JSON to what a rank holds: two values, two different memories.
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

/// Memory of a rank of four of the tiny model, found by replaying a step.
MemoryForecast forecast(std::string_view text) {
  const TrainConfig config = resolve_text(text, kRanks);
  const ParamTable table(preset_config("tiny"));
  const PlanCase plan_case = plan_case_of(config, kRanks, true);
  const auto sizing = make_cpu_ops(1);
  return forecast_memory(table, plan_case, *sizing, largest_step(plan_case));
}

/// The same with `members` in zero_optimization, in fp16.
MemoryForecast with_zero(std::string_view members) {
  return forecast(fmt::format(R"({{"fp16": {{"enabled": true}}, "train_micro_batch_size_per_gpu": 1,
      "zero_optimization": {{{}}}}})",
                              members));
}

std::size_t label(const MemoryReport& report, const std::string& name) {
  const auto at = report.peak_by_label.find(name);
  return at == report.peak_by_label.end() ? 0 : at->second;
}

}  // namespace

TEST_CASE("another preset is another model") {
  const auto parameters = [](std::string_view model) {
    const TrainConfig config = resolve_text(fmt::format(R"({{"llama_zero": {{"model": "{}"}}}})", model));
    return ParamTable(find_model(config.run.model).config.model).total_numel();
  };
  CHECK(parameters("125m") > 20 * parameters("tiny"));
}

TEST_CASE("higher stages shard more labels of memory") {
  std::vector<MemoryReport> stages;
  for (int stage = 0; stage <= 3; ++stage) stages.push_back(with_zero(fmt::format("\"stage\": {}", stage)).device);
  const auto quarter = [&](int from, int to, const char* name) {
    // Within the padding of units to a multiple of 64 elements a rank.
    CHECK(static_cast<double>(label(stages[static_cast<std::size_t>(to)], name)) ==
          doctest::Approx(static_cast<double>(label(stages[static_cast<std::size_t>(from)], name)) / 4).epsilon(0.01));
  };
  quarter(0, 1, "optimizer");
  quarter(1, 2, "gradients");
  quarter(2, 3, "weights");
  CHECK(label(stages[0], "gradients") == label(stages[1], "gradients"));
  CHECK(label(stages[0], "weights") == label(stages[2], "weights"));
}

TEST_CASE("a smaller reduce bucket takes less memory for gradients in flight") {
  const std::size_t large = label(with_zero(R"("stage": 2, "reduce_bucket_size": 5e8)").device, "buckets");
  const std::size_t small = label(with_zero(R"("stage": 2, "reduce_bucket_size": 4096)").device, "buckets");
  INFO(small, " against ", large);
  CHECK(small > 0);
  CHECK(small < large);
}

TEST_CASE("prefetch gathers ahead and persistence keeps gathered") {
  const auto leases = [](std::string_view prefetch, std::string_view persistence) {
    return label(with_zero(fmt::format(R"("stage": 3, "stage3_prefetch_bucket_size": {},
        "stage3_max_reuse_distance": 0, "stage3_param_persistence_threshold": {})",
                                       prefetch, persistence))
                     .device,
                 "leases");
  };
  const std::size_t least = leases("0", "0");
  CHECK(leases("1e9", "0") > least);
  CHECK(leases("0", "1e9") > least);
}

TEST_CASE("offload moves its states from device to host memory") {
  const auto leasing = [](std::string_view members) {
    return with_zero(fmt::format(R"("stage": 3, "stage3_param_persistence_threshold": 0, {})", members));
  };
  const MemoryForecast none = leasing(R"("offload_param": {"device": "none"})");
  const MemoryForecast optimizer = leasing(R"("offload_optimizer": {"device": "cpu"})");
  const MemoryForecast both = leasing(R"("offload_optimizer": {"device": "cpu"}, "offload_param": {"device": "cpu"})");
  CHECK(none.host.peak_bytes == 0);
  CHECK(label(optimizer.host, "host optimizer") > label(none.device, "optimizer"));  // and two buffers
  CHECK(label(optimizer.host, "host gradients") == label(none.device, "gradients"));
  CHECK(label(optimizer.device, "optimizer") == 0);
  CHECK(label(both.host, "host weights") == label(none.device, "weights"));
  CHECK(label(both.device, "weights") == 0);
  CHECK(both.device.peak_bytes < optimizer.device.peak_bytes);
  const MemoryForecast old = leasing(R"("cpu_offload": true, "cpu_offload_param": true)");
  CHECK(old.host.peak_bytes == both.host.peak_bytes);
  CHECK(leasing(R"("cpu_offload": false, "cpu_offload_param": false)").host.peak_bytes == 0);
}

TEST_CASE("a smaller sub group takes smaller buffers on the host") {
  const auto on_host = [](std::string_view size) {
    return label(
        with_zero(fmt::format(R"("stage": 3, "offload_optimizer": {{"device": "cpu"}}, "sub_group_size": {})", size))
            .host,
        "host optimizer");
  };
  CHECK(on_host("1000") < on_host("1e9"));
  CHECK(on_host("0") == on_host("1e9"));
}

TEST_CASE("ratio leaves the first units' optimizer states on the device") {
  const auto with_ratio = [](std::string_view ratio) {
    return with_zero(fmt::format(R"("stage": 3, "offload_optimizer": {{"device": "cpu", "ratio": {}}})", ratio));
  };
  CHECK(label(with_ratio("1").device, "optimizer") == 0);
  CHECK(label(with_ratio("0.5").device, "optimizer") > 0);
  CHECK(label(with_ratio("0.5").device, "optimizer") < label(with_ratio("0").device, "optimizer"));
  CHECK(with_ratio("0").host.peak_bytes == 0);
}

TEST_CASE("pin_memory decides which kind of host memory optimizer states lie in") {
  const auto memory = [](std::string_view pinned) {
    return engine_options_of(resolve_text(fmt::format(
                                 R"({{"zero_optimization": {{"stage": 1,
                                     "offload_optimizer": {{"device": "cpu", "pin_memory": {}}}}}}})",
                                 pinned)))
        .offload_optimizer.memory;
  };
  CHECK(memory("true") == HostMemory::kPinned);
  CHECK(memory("false") == HostMemory::kPageable);
}

TEST_CASE("local accumulation keeps whole gradients on every rank") {
  const auto gradients = [](std::string_view local) {
    return label(forecast(fmt::format(R"({{"zero_optimization": {{"stage": 2}},
                                          "llama_zero": {{"local_gradient_accumulation": {}}}}})",
                                      local))
                     .device,
                 "gradients");
  };
  CHECK(gradients("true") > 3 * gradients("false"));
}
