// The second step of the config: facts about model and data are known, every "auto" gets its value.
#include "launcher/config_resolve.h"

#include "launcher/byte_size.h"
#include "launcher/save_interval.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>

#include "core/error.h"

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
  run.save_interval = values.text("llama_zero.save_interval");
  parse_save_interval(run.save_interval);
  run.keep = values.integer("llama_zero.keep");
  run.resume = values.text("llama_zero.resume");
  run.export_dtype = values.text("llama_zero.export_dtype");
  run.max_shard_bytes = parse_byte_size(values.text("llama_zero.max_shard_size"), "llama_zero.max_shard_size");
  run.export_model = values.flag("llama_zero.export");
  run.seed = static_cast<std::uint64_t>(values.integer("llama_zero.seed"));
  run.device = device_of(values.text("llama_zero.device"));
  run.attention = attention_of(values.text("llama_zero.attention"));
  run.tune = values.text("llama_zero.tune");
  run.communicator = communicator_of(values.text("llama_zero.communicator"));
  run.collective_timeout = values.number("llama_zero.collective_timeout");
  run.trace = values.text("llama_zero.trace");
  run.trace_steps = values.integer("llama_zero.trace_steps");
  run.coalesce = values.flag("llama_zero.coalesce");
  run.mean_of_micro_batches = values.text("llama_zero.loss_average") == "micro_batch";
  constexpr std::string_view kMaxTokens = "llama_zero.max_tokens_per_pass";
  const bool given = values.is_set(kMaxTokens) && !values.is_auto(kMaxTokens);
  run.max_tokens_per_pass = given ? values.integer(kMaxTokens) : 0;
  run.train_on_prompt = values.flag("llama_zero.train_on_prompt");
  run.logits_chunk = values.integer("llama_zero.logits_chunk");
  run.defaults_profile = values.text("llama_zero.defaults_profile");
  require(!run.model.empty(), "{}: llama_zero.model is empty", values.where("llama_zero.model"));
  return run;
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
  config.cpu_checkpointing = values.flag("activation_checkpointing.cpu_checkpointing");
  resolve_batch(values, facts, config);
  resolve_precision(values, file.precision, config);
  resolve_optimizer(values, facts, config);
  resolve_schedule(values, config);
  resolve_zero(values, facts, config);
  check_16_bit_states(values, config);
  resolve_gradients(values, config);
  resolve_monitor(values, config);
  config.origins = collect_origins(values);
  return config;
}

}  // namespace llama_zero
