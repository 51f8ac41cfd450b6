#include "launcher/monitor/engine_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "zero/layout.h"

namespace llama_zero {
namespace {

constexpr std::size_t kNameAndDots = 29;

std::string_view name_of_checkpointing(ActivationCheckpointing mode) {
  switch (mode) {
    case ActivationCheckpointing::kNone:
      return "none";
    case ActivationCheckpointing::kSelective:
      return "selective";
    case ActivationCheckpointing::kFull:
      return "full";
  }
  return "";
}

std::int64_t shard_elements(const ParamTable& table, int rank, int ranks) {
  const Layout layout(table, ranks, rank);
  std::int64_t elements = 0;
  for (int unit = 0; unit < layout.unit_count(); ++unit) elements += layout[unit].shard;
  return elements;
}

}  // namespace

std::string engine_state_text(const TrainConfig& config, const EngineOptions& options, const ParamTable& table,
                              int rank, int ranks) {
  const std::map<std::string, std::string> attributes = {
      {"activation_checkpointing", std::string(name_of_checkpointing(options.transformer.checkpointing))},
      {"check_overflow", fmt::to_string(options.scaler.check_overflow)},
      {"dp_world_size", fmt::to_string(ranks)},
      {"dtype", std::string(name_of(options.dtype))},
      {"dynamic_loss_scale", fmt::to_string(options.scaler.dynamic)},
      {"global_rank", fmt::to_string(rank)},
      {"grad_accum_dtype", std::string(name_of(options.grad_accum_dtype))},
      {"gradient_accumulation_steps", fmt::to_string(config.batch.accumulation_steps)},
      {"gradient_clipping", fmt::to_string(options.gradient_clipping)},
      {"hysteresis", fmt::to_string(options.scaler.hysteresis)},
      {"logits_chunk", fmt::to_string(options.transformer.logits_chunk)},
      {"loss_scale", fmt::to_string(options.scaler.initial_scale)},
      {"loss_scale_window", fmt::to_string(options.scaler.window)},
      {"max_positions", fmt::to_string(options.max_positions)},
      {"min_loss_scale", fmt::to_string(options.scaler.min_loss_scale)},
      {"optimizer", config.optimizer.type},
      {"param_persistence_threshold", fmt::to_string(options.param_persistence_threshold)},
      {"params", fmt::to_string(table.total_numel())},
      {"params_of_this_rank", fmt::to_string(shard_elements(table, rank, ranks))},
      {"prefetch_bucket_size", fmt::to_string(options.prefetch_bucket_size)},
      {"reduce_bucket_size", fmt::to_string(options.reduce_bucket_size)},
      {"schedule_rows", fmt::to_string(options.schedule.size())},
      {"total_steps", fmt::to_string(config.total_steps)},
      {"train_batch_size", fmt::to_string(config.batch.train_batch_size)},
      {"train_micro_batch_size_per_gpu", fmt::to_string(config.batch.micro_batch_size)},
      {"units", fmt::to_string(table.unit_count())},
      {"zero_stage", fmt::to_string(options.stage)},
  };
  std::string text = "Engine:\n";
  for (const auto& [name, value] : attributes) {
    const std::string dots(kNameAndDots - std::min(kNameAndDots, name.size()), '.');
    text += fmt::format("  {} {} {}\n", name, dots, value);
  }
  return text;
}

}  // namespace llama_zero
