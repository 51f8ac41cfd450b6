#include "model/activations.h"

#include <algorithm>

namespace llama_zero {

std::vector<ActivationRow> activation_table(const LlamaConfig& config, DType dtype) {
  using Block = BlockActivations;
  const std::int64_t hidden = config.hidden_size;
  const std::int64_t inner = config.intermediate_size;
  const DType stat = stat_dtype(dtype);
  return {
      {"input_sum", &Block::input_sum, hidden, dtype, Kept::kAlways},
      {"input_norm", &Block::input_norm, hidden, dtype, Kept::kInNone},
      {"input_rstd", &Block::input_rstd, 1, stat, Kept::kInNone},
      {"qkv", &Block::qkv, config.qkv_size(), dtype, Kept::kUnlessFull},
      {"attention", &Block::attention, config.attention_size(), dtype, Kept::kUnlessFull},
      {"log_sum_exp", &Block::log_sum_exp, config.num_attention_heads, stat, Kept::kUnlessFull},
      {"middle_sum", &Block::middle_sum, hidden, dtype, Kept::kUnlessFull},
      {"middle_norm", &Block::middle_norm, hidden, dtype, Kept::kInNone},
      {"middle_rstd", &Block::middle_rstd, 1, stat, Kept::kInNone},
      {"gate_up", &Block::gate_up, 2 * inner, dtype, Kept::kUnlessFull},
      {"swiglu", &Block::swiglu, inner, dtype, Kept::kInNone},
  };
}

bool is_kept(Kept kept, ActivationCheckpointing mode) {
  switch (kept) {
    case Kept::kAlways:
      return true;
    case Kept::kUnlessFull:
      return mode != ActivationCheckpointing::kFull;
    case Kept::kInNone:
      return mode == ActivationCheckpointing::kNone;
  }
  return true;
}

ActivationSet::ActivationSet(const LlamaConfig& config, DType dtype, ActivationCheckpointing mode, std::int64_t tokens,
                             Arena& arena, std::int64_t inputs)
    : layers_(static_cast<std::size_t>(config.num_hidden_layers)) {
  const auto count = static_cast<std::size_t>(inputs);
  for (const ActivationRow& row : activation_table(config, dtype)) {
    if (count > 0 && row.view == &BlockActivations::input_sum) {
      for (std::size_t i = 0; i < layers_.size(); ++i) {
        layers_[i].input_sum = i < count ? arena.allocate(kActivationsLabel, row.dtype, row.per_token * tokens)
                                         : layers_[i - count].input_sum;
      }
    } else if (is_kept(row.kept, mode)) {
      for (BlockActivations& layer : layers_) {
        layer.*row.view = arena.allocate(kActivationsLabel, row.dtype, row.per_token * tokens);
      }
    } else {
      const View shared = arena.allocate(kActivationScratchLabel, row.dtype, row.per_token * tokens);
      for (BlockActivations& layer : layers_) layer.*row.view = shared;
    }
  }
}

ActivationSet::ActivationSet(const LlamaConfig& config, DType dtype, std::int64_t tokens, Arena& arena) {
  BlockActivations shared;
  for (const ActivationRow& row : activation_table(config, dtype)) {
    shared.*row.view = arena.allocate(kActivationScratchLabel, row.dtype, row.per_token * tokens);
  }
  layers_.assign(static_cast<std::size_t>(config.num_hidden_layers), shared);
}

BlockGradients allocate_block_gradients(const LlamaConfig& config, DType dtype, std::int64_t tokens, Arena& arena) {
  const std::int64_t wide = std::max(config.intermediate_size, config.attention_size());
  return {arena.allocate(kActivationScratchLabel, dtype, wide * tokens),
          arena.allocate(kActivationScratchLabel, dtype, config.hidden_size * tokens),
          arena.allocate(kActivationScratchLabel, dtype, config.qkv_size() * tokens)};
}

}  // namespace llama_zero
