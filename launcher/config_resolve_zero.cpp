// zero_optimization, typed; its autos and the rules for combinations.
#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "core/error.h"
#include "launcher/config_resolve.h"

namespace llama_zero {
namespace {

constexpr std::string_view kOverlap = "zero_optimization.overlap_comm";
constexpr std::string_view kReduce = "zero_optimization.reduce_bucket_size";
constexpr std::string_view kPrefetch = "zero_optimization.stage3_prefetch_bucket_size";
constexpr std::string_view kPersistence = "zero_optimization.stage3_param_persistence_threshold";
constexpr std::string_view kOptimizerDevice = "zero_optimization.offload_optimizer.device";
constexpr std::string_view kParamDevice = "zero_optimization.offload_param.device";
constexpr std::string_view kRatio = "zero_optimization.offload_optimizer.ratio";

/// Below stage 3 Hugging Face leaves the two stage-3 sizes "auto", and DeepSpeed takes its defaults.
void fill_sizes(ConfigValues& values, std::int64_t hidden, int stage) {
  const std::int64_t squared = hidden * hidden;
  const auto fill = [&](std::string_view key, std::int64_t value, std::string_view why) {
    if (values.is_auto(key)) values.fill(key, value, fmt::format("auto: {}", why));
  };
  fill(kReduce, squared, "hidden size squared");
  fill(kPrefetch, stage == 3 ? squared * 9 / 10 : 50000000,
       stage == 3 ? "0.9 x hidden size squared" : "DeepSpeed's default");
  fill(kPersistence, stage == 3 ? 10 * hidden : 100000, stage == 3 ? "10 x hidden size" : "DeepSpeed's default");
}

void resolve_optimizer_offload(const ConfigValues& values, TrainConfig& config) {
  ZeroConfig& zero = config.zero;
  const std::string device = values.text(kOptimizerDevice);
  const std::string where = values.where(kOptimizerDevice);
  if (values.number(kRatio) < 1.0) {
    require(zero.stage == 3, "{}: offload_optimizer.ratio below 1 needs stage 3, not stage {}", values.where(kRatio),
            zero.stage);
  }
  if (device == "none") return;
  OptimizerOffload& offload = zero.offload_optimizer;
  offload.enabled = true;
  const bool pinned = values.flag("zero_optimization.offload_optimizer.pin_memory");
  offload.memory = pinned ? HostMemory::kPinned : HostMemory::kPageable;
  offload.ratio = values.number(kRatio);
  const std::int64_t group = values.integer("zero_optimization.sub_group_size");
  if (zero.stage == 3 && group > 0) offload.sub_group_size = group;
  require(zero.stage > 0, "{}: offload_optimizer needs a zero_optimization.stage of 1, 2 or 3, not 0", where);
  if (device == "nvme") {
    require(zero.stage < 3, "{}: {} \"nvme\" is not supported; use \"cpu\"", where, kOptimizerDevice);
    config.warnings.push_back(fmt::format(
        "{}: offload_optimizer to nvme needs stage 3; stage {} takes cpu, as DeepSpeed does", where, zero.stage));
  }
}

void resolve_param_offload(const ConfigValues& values, TrainConfig& config) {
  ZeroConfig& zero = config.zero;
  const std::string device = values.text(kParamDevice);
  const std::string where = values.where(kParamDevice);
  if (device == "none") return;
  if (zero.stage < 3) {
    config.warnings.push_back(
        fmt::format("{}: offload_param needs stage 3; in stage {} weights stay on the device", where, zero.stage));
    return;
  }
  require(device != "nvme", "{}: {} \"nvme\" is not supported; use \"cpu\"", where, kParamDevice);
  ParamOffload& offload = zero.offload_param;
  offload.enabled = true;
  offload.pin_memory = values.flag("zero_optimization.offload_param.pin_memory");
  offload.buffer_count = values.integer("zero_optimization.offload_param.buffer_count");
  offload.buffer_size = values.integer("zero_optimization.offload_param.buffer_size");
  offload.max_in_cpu = values.integer("zero_optimization.offload_param.max_in_cpu");
}

}  // namespace

void resolve_zero(ConfigValues& values, const ResolveFacts& facts, TrainConfig& config) {
  ZeroConfig& zero = config.zero;
  zero.stage = static_cast<int>(values.integer("zero_optimization.stage"));
  fill_sizes(values, facts.hidden_size, zero.stage);
  zero.overlap_comm = values.is_null(kOverlap) ? zero.stage == 3 : values.flag(kOverlap);
  zero.reduce_bucket_size = values.integer(kReduce);
  zero.prefetch_bucket_size = values.integer(kPrefetch);
  zero.param_persistence_threshold = values.integer(kPersistence);
  zero.model_persistence_threshold = values.integer("zero_optimization.stage3_model_persistence_threshold");
  zero.max_live_parameters = values.integer("zero_optimization.stage3_max_live_parameters");
  zero.max_reuse_distance = values.integer("zero_optimization.stage3_max_reuse_distance");
  constexpr std::string_view kGather = "zero_optimization.allgather_bucket_size";
  require(values.integer(kGather) % 2 == 0, "{}: {} must be even, not {}", values.where(kGather), kGather,
          values.integer(kGather));
  zero.local_gradient_accumulation = values.flag("llama_zero.local_gradient_accumulation");
  resolve_optimizer_offload(values, config);
  resolve_param_offload(values, config);
}

}  // namespace llama_zero
