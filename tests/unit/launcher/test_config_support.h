// What the config tests share: resolving a text, the message of an Error, every typed field as one string.
#pragma once

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "launcher/config.h"

namespace llama_zero::config_test {

inline ResolveFacts facts_of(int ranks) {
  ResolveFacts facts;
  facts.world_size = ranks;
  facts.hidden_size = 64;
  facts.preset_learning_rate = 3e-3;
  facts.rows = 600;
  return facts;
}

inline TrainConfig resolve_text(std::string_view text, int ranks = 1, const ConfigFlags& flags = {}) {
  return resolve(parse_config(text, "ds.json", flags), facts_of(ranks));
}

/// The message of the Error that `body` throws; "" when it throws none.
template <typename Body>
std::string message_of(Body&& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

inline std::string resolve_error(std::string_view text, int ranks = 1) {
  return message_of([&] { resolve_text(text, ranks); });
}

inline bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

inline bool any_contains(const std::vector<std::string>& lines, std::string_view part) {
  for (const std::string& line : lines) {
    if (contains(line, part)) return true;
  }
  return false;
}

inline ConfigFlags set_flags(const std::vector<std::string>& sets) {
  ConfigFlags flags;
  for (const std::string& text : sets) flags.overrides.push_back(parse_set(text));
  return flags;
}

inline ConfigOrigin origin_of(const TrainConfig& config, std::string_view key) {
  for (const ConfigOrigin& line : config.origins) {
    if (line.key == key) return line;
  }
  return {};
}

/// Every typed field that a run reads: two configs with the same text give the same run.
inline std::string fingerprint(const TrainConfig& c) {
  const RunSection& r = c.run;
  const ScheduleConfig& s = c.schedule;
  std::string out =
      fmt::format("{} {} {} {} {} {} {} {} {} {} {} {} {} {} {} {} {}|", r.model, r.data, r.eval_data, r.tokenizer,
                  r.sequence_length, r.epochs, r.max_steps, r.output, r.run_name, r.seed, static_cast<int>(r.device),
                  static_cast<int>(r.attention), r.coalesce, r.max_tokens_per_pass, r.train_on_prompt, r.logits_chunk,
                  static_cast<int>(r.communicator));
  out += fmt::format("{} {} {} {} {} {} {}|", r.export_model, r.export_dtype, r.max_shard_bytes, r.tune,
                     r.collective_timeout, r.trace, r.trace_steps);
  out += fmt::format("{} {} {} {} {} {}|", c.batch.train_batch_size, c.batch.micro_batch_size,
                     c.batch.accumulation_steps, c.total_steps, name_of(c.dtype), name_of(c.grad_accum_dtype));
  out +=
      fmt::format("{} {} {} {} {} {} {}|", c.scaler.check_overflow, c.scaler.dynamic, c.scaler.consecutive_hysteresis,
                  c.scaler.initial_scale, c.scaler.min_loss_scale, c.scaler.window, c.scaler.hysteresis);
  out +=
      fmt::format("{} {} {} {} {} {} {} {}|", c.gradient_clipping, c.optimizer.type, c.optimizer.lr, c.optimizer.beta1,
                  c.optimizer.beta2, c.optimizer.eps, c.optimizer.weight_decay, c.optimizer.bias_correction);
  out += fmt::format("{} {} {} {} {} {} {} {} {}|", static_cast<int>(s.type), s.type_name, s.warmup_min_lr,
                     s.warmup_max_lr, s.warmup_num_steps, s.total_num_steps, static_cast<int>(s.warmup_type),
                     s.warmup_min_ratio, s.cos_min_ratio);
  out +=
      fmt::format("{} {} {} {} {} {} {} {}|", s.cycle_min_lr, s.cycle_max_lr, s.decay_lr_rate, s.cycle_first_step_size,
                  s.cycle_second_step_size, s.cycle_first_stair_count, s.cycle_second_stair_count, s.decay_step_size);
  out += fmt::format("{} {} {} {}|", s.lr_range_test_min_lr, s.lr_range_test_step_rate, s.lr_range_test_step_size,
                     s.lr_range_test_staircase);
  out += fmt::format("{} {} {} {} {} {} {}", c.zero.stage, c.zero.reduce_bucket_size, c.zero.prefetch_bucket_size,
                     c.zero.param_persistence_threshold, c.zero.offload_optimizer.enabled, c.zero.offload_param.enabled,
                     static_cast<int>(c.checkpointing));
  out += c.cpu_checkpointing ? " cpu" : "";
  const ParamOffload& p = c.zero.offload_param;
  out += fmt::format("|{} {} {} {} {} {} {} {}", c.zero.overlap_comm, c.zero.model_persistence_threshold,
                     c.zero.max_live_parameters, c.zero.max_reuse_distance, p.pin_memory, p.buffer_count, p.buffer_size,
                     p.max_in_cpu);
  const OptimizerOffload& o = c.zero.offload_optimizer;
  out += fmt::format("|{} {} {} {}", static_cast<int>(o.memory), o.ratio, o.sub_group_size,
                     c.zero.local_gradient_accumulation);
  return out;
}

}  // namespace llama_zero::config_test
