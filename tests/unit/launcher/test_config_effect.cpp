#include <set>

#include "launcher/schema.h"
#include "test_config_support.h"

using namespace llama_zero;
using namespace llama_zero::config_test;

namespace {

/// A key, a config that lets it act, and two of its values.
struct Effect {
  const char *key, *base, *first, *second;
};

constexpr const char* kFp16 = R"({"fp16": {"enabled": true}})";
constexpr const char* kDecay = R"({"scheduler": {"type": "WarmupDecayLR", "params": {"total_num_steps": 500}}})";
constexpr const char* kCosine = R"({"scheduler": {"type": "WarmupCosineLR", "params": {"total_num_steps": 500}}})";
constexpr const char* kCycle = R"({"scheduler": {"type": "OneCycle",
    "params": {"cycle_min_lr": 0.1, "cycle_max_lr": 0.2, "cycle_momentum": false}}})";
constexpr const char* kRange = R"({"scheduler": {"type": "LRRangeTest"}})";
constexpr const char* kStage3 = R"({"zero_optimization": {"stage": 3}})";

constexpr const char* kOffloaded = R"({"zero_optimization": {"stage": 3, "offload_optimizer": {"device": "cpu"}}})";

constexpr Effect kEffects[] = {
    {"llama_zero.model", "{}", "\"tiny\"", "\"125m\""},
    {"llama_zero.data", "{}", "null", "\"a.json\""},
    {"llama_zero.eval_data", "{}", "null", "\"a.json\""},
    {"llama_zero.tokenizer", "{}", "null", "\"t.model\""},
    {"llama_zero.sequence_length", "{}", "512", "256"},
    {"llama_zero.epochs", "{}", "1", "1.5"},
    {"llama_zero.max_steps", "{}", "0", "5"},
    {"llama_zero.output", "{}", "null", "\"out\""},
    {"llama_zero.run_name", "{}", "null", "\"r\""},
    {"llama_zero.export", "{}", "true", "false"},
    {"llama_zero.export_dtype", "{}", "\"auto\"", "\"fp32\""},
    {"llama_zero.max_shard_size", "{}", "\"5GB\"", "\"500MB\""},
    {"llama_zero.seed", "{}", "42", "43"},
    {"llama_zero.device", "{}", "\"auto\"", "\"cpu\""},
    {"llama_zero.attention", "{}", "\"auto\"", "\"flash\""},
    {"llama_zero.tune", "{}", "null", "\"tune.json\""},
    {"llama_zero.communicator", "{}", "\"auto\"", "\"mpi\""},
    {"llama_zero.coalesce", "{}", "true", "false"},
    {"llama_zero.max_tokens_per_pass", "{}", "\"auto\"", "1024"},
    {"llama_zero.train_on_prompt", "{}", "false", "true"},
    {"llama_zero.logits_chunk", "{}", "2048", "64"},
    {"train_batch_size", "{}", "16", "32"},
    {"train_micro_batch_size_per_gpu", "{}", "2", "4"},
    {"gradient_accumulation_steps", R"({"train_micro_batch_size_per_gpu": 2})", "2", "4"},
    {"optimizer.type", "{}", "\"AdamW\"", "\"Adam\""},
    {"optimizer.params.lr", "{}", "0.1", "0.2"},
    {"optimizer.params.betas", "{}", "[0.9, 0.95]", "[0.9, 0.99]"},
    {"optimizer.params.eps", "{}", "1e-8", "1e-6"},
    {"optimizer.params.weight_decay", "{}", "0", "0.1"},
    {"optimizer.params.bias_correction", "{}", "true", "false"},
    {"optimizer.params.torch_adam", "{}", "false", "true"},
    {"gradient_clipping", "{}", "1", "0.5"},
    {"scheduler.type", "{}", "\"WarmupLR\"", "\"constant\""},
    {"scheduler.params.warmup_min_lr", kDecay, "0", "0.1"},
    {"scheduler.params.warmup_max_lr", kDecay, "0.1", "0.2"},
    {"scheduler.params.warmup_num_steps", kDecay, "10", "20"},
    {"scheduler.params.warmup_type", kDecay, "\"log\"", "\"linear\""},
    {"scheduler.params.total_num_steps", kDecay, "300", "400"},
    {"scheduler.params.warmup_min_ratio", kCosine, "0", "0.1"},
    {"scheduler.params.cos_min_ratio", kCosine, "0", "0.1"},
    {"scheduler.params.cycle_min_lr", kCycle, "0.01", "0.02"},
    {"scheduler.params.cycle_max_lr", kCycle, "0.3", "0.4"},
    {"scheduler.params.decay_lr_rate", kCycle, "0", "0.1"},
    {"scheduler.params.cycle_first_step_size", kCycle, "10", "20"},
    {"scheduler.params.cycle_second_step_size", kCycle, "10", "20"},
    {"scheduler.params.cycle_first_stair_count", kCycle, "0", "3"},
    {"scheduler.params.cycle_second_stair_count", kCycle, "0", "3"},
    {"scheduler.params.decay_step_size", kCycle, "0", "3"},
    {"scheduler.params.lr_range_test_min_lr", kRange, "0.1", "0.2"},
    {"scheduler.params.lr_range_test_step_size", kRange, "10", "20"},
    {"scheduler.params.lr_range_test_step_rate", kRange, "1", "2"},
    {"scheduler.params.lr_range_test_staircase", kRange, "false", "true"},
    {"fp16.enabled", "{}", "false", "true"},
    {"fp16.loss_scale", kFp16, "0", "64"},
    {"fp16.initial_scale_power", kFp16, "16", "8"},
    {"fp16.loss_scale_window", kFp16, "1000", "10"},
    {"fp16.hysteresis", kFp16, "2", "3"},
    {"fp16.consecutive_hysteresis", kFp16, "false", "true"},
    {"fp16.min_loss_scale", kFp16, "1", "2"},
    {"bf16.enabled", "{}", "false", "true"},
    {"bf16.check_grad_overflow", R"({"bf16": {"enabled": true}})", "true", "false"},
    {"data_types.grad_accum_dtype", kFp16, "\"fp16\"", "\"fp32\""},
    {"zero_optimization.stage", "{}", "1", "2"},
    {"zero_optimization.reduce_bucket_size", "{}", "100", "200"},
    {"zero_optimization.stage3_prefetch_bucket_size", kStage3, "100", "200"},
    {"zero_optimization.stage3_param_persistence_threshold", kStage3, "100", "200"},
    {"zero_optimization.cpu_offload", kStage3, "false", "true"},
    {"zero_optimization.cpu_offload_param", kStage3, "false", "true"},
    {"zero_optimization.offload_optimizer.device", kStage3, "\"none\"", "\"cpu\""},
    {"zero_optimization.offload_optimizer.pin_memory", kOffloaded, "true", "false"},
    {"zero_optimization.offload_optimizer.ratio", kOffloaded, "1", "0.5"},
    {"zero_optimization.sub_group_size", kOffloaded, "1000000000", "100"},
    {"llama_zero.local_gradient_accumulation", kStage3, "false", "true"},
    {"zero_optimization.offload_param.device", kStage3, "\"none\"", "\"cpu\""},
    {"activation_checkpointing.mode", "{}", "\"none\"", "\"full\""},
};

}  // namespace

TEST_CASE("each honoured key changes what resolve returns") {
  std::set<std::string_view> shown;
  for (const Effect& effect : kEffects) {
    INFO(effect.key);
    const auto with = [&](const char* value) {
      return fingerprint(resolve_text(effect.base, 2, set_flags({fmt::format("{}={}", effect.key, value)})));
    };
    CHECK(with(effect.first) != with(effect.second));
    shown.insert(effect.key);
  }
  for (const SchemaKey& key : schema_keys()) {
    INFO(key.path);
    if (key.status == KeyStatus::kHonoured && key.test == kResolveTest) CHECK(shown.contains(key.path));
  }
}

TEST_CASE("no key without effect changes what resolve returns") {
  for (const SchemaKey& key : schema_keys()) {
    if (key.status != KeyStatus::kNoEffect) continue;
    const char* value = nullptr;
    if (key.type == ValueType::kBool) value = key.default_text == "true" ? "false" : "true";
    if (key.type == ValueType::kInt) value = "2";
    if (value == nullptr) continue;
    const std::string set = fmt::format("{}={}", key.path, value);
    INFO(set);
    std::string base = R"({"zero_optimization": {"stage": 3}})";
    if (key.section() == "scheduler.params") base = kCycle;
    CHECK(fingerprint(resolve_text(base, 2)) == fingerprint(resolve_text(base, 2, set_flags({set}))));
  }
}
