#include "launcher/run_description.h"

#include <fmt/format.h>

#include "core/error.h"
#include "launcher/progress.h"

namespace llama_zero {

std::string describe_shape(const ParamTable& table) {
  const LlamaConfig& c = table.config();
  return fmt::format("{} layers, hidden {}, {} heads ({} key-value), feed-forward {}, vocabulary {}; {} parameters",
                     c.num_hidden_layers, c.hidden_size, c.num_attention_heads, c.num_key_value_heads,
                     c.intermediate_size, c.vocab_size, format_count(table.total_numel()));
}

std::string describe_stage(int stage) {
  switch (stage) {
    case 0:
      return "stage 0: every rank holds everything";
    case 1:
      return "stage 1: optimizer states are sharded";
    case 2:
      return "stage 2: optimizer states and gradients are sharded";
    case 3:
      return "stage 3: optimizer states, gradients and weights are sharded";
    default:
      fail("there is no ZeRO stage {}", stage);
  }
}

std::string name_of(ActivationCheckpointing mode) {
  switch (mode) {
    case ActivationCheckpointing::kNone:
      return "none";
    case ActivationCheckpointing::kSelective:
      return "selective";
    case ActivationCheckpointing::kFull:
      return "full";
  }
  fail("unknown activation checkpointing");
}

}  // namespace llama_zero
