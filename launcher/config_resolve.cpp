// The second step of the config: facts about model and data are known, every "auto" gets its value.
#include "launcher/config_resolve.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>

#include "core/error.h"
#include "launcher/schema_coerce.h"

namespace llama_zero {
namespace {

DeviceChoice device_of(const std::string& word) {
  if (word == "cpu") return DeviceChoice::kCpu;
  return word == "cuda" ? DeviceChoice::kCuda : DeviceChoice::kAuto;
}

AttentionChoice attention_of(const std::string& word) {
  if (word == "flash") return AttentionChoice::kFlash;
  return word == "cudnn" ? AttentionChoice::kCudnn : AttentionChoice::kAuto;
}

CommunicatorChoice communicator_of(const std::string& word) {
  if (word == "nccl") return CommunicatorChoice::kNccl;
  return word == "mpi" ? CommunicatorChoice::kMpi : CommunicatorChoice::kAuto;
}

ActivationCheckpointing checkpointing_of(const std::string& word) {
  if (word == "none") return ActivationCheckpointing::kNone;
  return word == "full" ? ActivationCheckpointing::kFull : ActivationCheckpointing::kSelective;
}

DType dtype_of(const std::string& word) {
  const std::string lower = lower_case(word);
  if (list_contains("fp16|float16|half", lower)) return DType::kF16;
  if (list_contains("bf16|bfloat16", lower)) return DType::kBF16;
  return DType::kF32;
}

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
  if (dtype == DType::kBF16) scaler.check_overflow = values.flag("bf16.check_grad_overflow");
  if (dtype != DType::kF16) return scaler;
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

void resolve_clipping(ConfigValues& values, TrainConfig& config) {
  constexpr std::string_view kKey = "gradient_clipping";
  if (values.is_auto(kKey)) values.fill(kKey, 1.0, "auto: Hugging Face's max_grad_norm");
  config.gradient_clipping = values.number(kKey);
}

}  // namespace

RunSection read_run_section(const ConfigValues& values) {
  RunSection run;
  run.model = values.text("llama_zero.model");
  run.data = values.text("llama_zero.data");
  run.eval_data = values.text("llama_zero.eval_data");
  run.tokenizer = values.text("llama_zero.tokenizer");
  run.sequence_length = values.integer("llama_zero.sequence_length");
  run.epochs = values.number("llama_zero.epochs");
  run.max_steps = std::max<std::int64_t>(0, values.integer("llama_zero.max_steps"));
  run.output = values.text("llama_zero.output");
  run.run_name = values.text("llama_zero.run_name");
  run.seed = static_cast<std::uint64_t>(values.integer("llama_zero.seed"));
  run.device = device_of(values.text("llama_zero.device"));
  run.attention = attention_of(values.text("llama_zero.attention"));
  run.communicator = communicator_of(values.text("llama_zero.communicator"));
  run.coalesce = values.flag("llama_zero.coalesce");
  constexpr std::string_view kMaxTokens = "llama_zero.max_tokens_per_pass";
  const bool given = values.is_set(kMaxTokens) && !values.is_auto(kMaxTokens);
  run.max_tokens_per_pass = given ? values.integer(kMaxTokens) : 0;
  run.train_on_prompt = values.flag("llama_zero.train_on_prompt");
  run.logits_chunk = values.integer("llama_zero.logits_chunk");
  run.defaults_profile = values.text("llama_zero.defaults_profile");
  require(!run.model.empty(), "{}: llama_zero.model is empty", values.where("llama_zero.model"));
  return run;
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
  const std::string wire = values.text("communication_data_type");
  require(wire.empty() || dtype_of(wire) == config.grad_accum_dtype,
          "{}: communication_data_type {} is not supported yet: gradients travel in the dtype in which they are "
          "accumulated, {}",
          values.where("communication_data_type"), wire, name_of(config.grad_accum_dtype));
}

TrainConfig resolve(const ConfigFile& file, const ResolveFacts& facts) {
  require(facts.world_size > 0, "no ranks to resolve the config for");
  TrainConfig config;
  config.source = file.source;
  config.run = file.run;
  std::vector<std::string> again;  // load_config has these already
  ConfigValues values(file.root, file.source, again);
  config.warnings = file.warnings;
  if (file.built_in) config.notes.push_back("no config given: stage 0, fp16, and Hugging Face's values");
  config.checkpointing = checkpointing_of(values.text("activation_checkpointing.mode"));
  resolve_batch(values, facts, config);
  resolve_precision(values, file.precision, config);
  resolve_optimizer(values, facts, config);
  resolve_clipping(values, config);
  resolve_schedule(values, config);
  resolve_zero(values, facts, config);
  resolve_monitor(values, config);
  config.origins = collect_origins(values);
  return config;
}

}  // namespace llama_zero
