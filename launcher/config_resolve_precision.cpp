// fp16, bf16, data_types: what is stored in which dtype, and how the loss scale moves.
#include <fmt/format.h>

#include <cmath>
#include <cstdint>
#include <limits>

#include "core/error.h"
#include "launcher/config_resolve.h"
#include "launcher/schema_coerce.h"

namespace llama_zero {
namespace {

// Without a loss scale to lower, nothing changes from one skipped step to the next but the data.
constexpr std::int32_t kMaxSkipsInARow = 10;

/// `name`.enabled. Where the config leaves it open --precision decides; without that, "auto" means fp16.
bool enabled(ConfigValues& values, const std::string& precision, std::string_view name) {
  const std::string key = fmt::format("{}.enabled", name);
  const bool wanted = precision == name;
  if (!values.is_auto(key)) {
    if (!values.is_set(key) && wanted) values.fill(key, true, "--precision");
    const bool on = values.flag(key);
    const bool contradicts = !precision.empty() && on != wanted;
    require(!contradicts, "{}: {} is {}, which contradicts --precision {}; write \"auto\" there", values.where(key),
            key, on, precision);
    return on;
  }
  const bool bf16_stated = !values.is_auto("bf16.enabled") && values.flag("bf16.enabled");
  const bool on = precision.empty() ? name == "fp16" && !bf16_stated : wanted;
  values.fill(key, on,
              precision.empty() ? "auto: fp16 unless --precision or bf16 says otherwise" : "auto: --precision");
  return on;
}

LossScalerConfig scaler_of(const ConfigValues& values, DType dtype) {
  LossScalerConfig scaler;
  if (dtype != DType::kF16) {
    scaler.check_overflow = dtype == DType::kF32 || values.flag("bf16.check_grad_overflow");
    scaler.max_skips_in_a_row = kMaxSkipsInARow;
    return scaler;
  }
  const double scale = values.number("fp16.loss_scale");
  scaler.check_overflow = true;
  scaler.dynamic = scale == 0.0;
  scaler.consecutive_hysteresis = values.flag("fp16.consecutive_hysteresis");
  const auto to_int32 = [&](std::string_view key) {
    const std::int64_t wide = values.integer(key);
    require(wide <= INT32_MAX, "{}: {} is too large: {}", values.where(key), key, wide);
    return static_cast<std::int32_t>(wide);
  };
  const int power = to_int32("fp16.initial_scale_power");
  require(scale <= std::numeric_limits<float>::max(), "{}: fp16.loss_scale is too large: {}",
          values.where("fp16.loss_scale"), scale);
  scaler.initial_scale = scaler.dynamic ? std::ldexp(1.0F, power) : static_cast<float>(scale);
  scaler.min_loss_scale = static_cast<float>(values.integer("fp16.min_loss_scale"));
  scaler.window = to_int32("fp16.loss_scale_window");
  scaler.hysteresis = to_int32("fp16.hysteresis");
  if (scaler.dynamic) {
    require(scaler.window > 0, "{}: fp16.loss_scale_window must be > 0, not {}", values.where("fp16.loss_scale_window"),
            scaler.window);
  }
  return scaler;
}

}  // namespace

DType dtype_of(const std::string& word) {
  const std::string lower = lower_case(word);
  if (list_contains("fp16|float16|half", lower)) return DType::kF16;
  if (list_contains("bf16|bfloat16", lower)) return DType::kBF16;
  return DType::kF32;
}

void resolve_precision(ConfigValues& values, const std::string& precision, TrainConfig& config) {
  const bool known = precision.empty() || list_contains("fp16|bf16|fp32", precision);
  require(known, "--precision must be one of fp16, bf16, fp32, not \"{}\"", precision);
  const bool fp16 = enabled(values, precision, "fp16");
  const bool bf16 = enabled(values, precision, "bf16");
  require(!(fp16 && bf16), "{}: fp16 and bf16 are both enabled; keep one", values.where("bf16.enabled"));
  config.dtype = fp16 ? DType::kF16 : (bf16 ? DType::kBF16 : DType::kF32);
  if (!values.is_set("fp16.enabled") && !values.is_set("bf16.enabled") && precision.empty()) {
    config.notes.push_back("neither fp16 nor bf16 in the config: fp32");
  }
  config.scaler = scaler_of(values, config.dtype);

  const std::string param = values.text("data_types.param_dtype");
  require(param.empty() || dtype_of(param) == config.dtype,
          "{}: data_types.param_dtype {} is not the dtype that fp16 and bf16 "
          "choose, {}; leave it out",
          values.where("data_types.param_dtype"), param, name_of(config.dtype));
  const std::string accumulation = values.text("data_types.grad_accum_dtype");
  config.grad_accum_dtype = accumulation.empty() ? config.dtype : dtype_of(accumulation);
}

void check_16_bit_states(const ConfigValues& values, const TrainConfig& config) {
  constexpr std::string_view kFp16 = "fp16.fp16_master_weights_and_grads";
  constexpr std::string_view kBf16 = "bf16.bf16_master_weights_and_grads";
  constexpr std::string_view kStates = "bf16.bf16_optimizer_states";
  const ZeroConfig& zero = config.zero;
  const bool states = values.flag(kStates);
  if (config.dtype == DType::kF16 && values.flag(kFp16)) {
    require(zero.stage > 0 && zero.offload_optimizer.enabled,
            "{}: {} needs a zero_optimization.stage of 1, 2 or 3 and offload_optimizer to cpu", values.where(kFp16),
            kFp16);
  }
  if (config.dtype != DType::kBF16) return;
  require(!states || values.flag(kBf16), "{}: {} needs {}", values.where(kStates), kStates, kBf16);
  if (!values.flag(kBf16)) return;
  require(zero.stage > 0, "{}: {} needs a zero_optimization.stage of 1, 2 or 3, not 0", values.where(kBf16), kBf16);
  require(zero.offload_optimizer.enabled || states, "{}: {} needs offload_optimizer to cpu, or {}", values.where(kBf16), kBf16,
          kStates);
}

}  // namespace llama_zero
