#include "model/config.h"

#include <array>
#include <cmath>
#include <limits>

#include "core/error.h"

namespace llama_zero {
namespace {

struct Preset {
  std::string_view name;
  double learning_rate;
  LlamaConfig config;
};

LlamaConfig shape(std::int64_t hidden, std::int64_t intermediate, std::int64_t layers, std::int64_t heads) {
  LlamaConfig config;
  config.hidden_size = hidden;
  config.intermediate_size = intermediate;
  config.num_hidden_layers = layers;
  config.num_attention_heads = heads;
  config.num_key_value_heads = heads;
  config.head_dim = hidden / heads;
  return config;
}

LlamaConfig tiny_shape() {
  LlamaConfig config = shape(64, 128, 4, 2);
  config.vocab_size = 1024;
  config.max_position_embeddings = 512;
  return config;
}

// 7B and 13B are those of Touvron et al., "Llama 2", 2023, table 1 and appendix; 125M and 1.3B have the width and depth
// of GPT-3 Small and XL (Brown et al., 2020, table 2.1) with Llama's feed-forward ratio. Peak learning rates follow the
// same tables.
const std::array<Preset, 5>& presets() {
  static const std::array<Preset, 5> kPresets{{
      {"tiny", 2e-3, tiny_shape()},
      {"125m", 6e-4, shape(768, 2048, 12, 12)},
      {"1.3b", 2e-4, shape(2048, 5504, 24, 16)},
      {"llama2-7b", 1e-4, shape(4096, 11008, 32, 32)},
      {"llama2-13b", 1e-4, shape(5120, 13824, 40, 40)},
  }};
  return kPresets;
}

const Preset& find_preset(std::string_view name) {
  std::string known;
  for (const Preset& preset : presets()) {
    if (preset.name == name) return preset;
    known += known.empty() ? "" : ", ";
    known += preset.name;
  }
  fail("no model preset '{}'; there are {}", name, known);
}

void require_size(std::int64_t value, std::string_view field) {
  require(value >= 1 && value <= std::numeric_limits<std::int32_t>::max(),
          "model config: {} = {} must be between 1 and {}", field, value, std::numeric_limits<std::int32_t>::max());
}

void require_multiple_of_8(std::int64_t value, std::string_view field) {
  require(value % 8 == 0, "model config: {} = {} must be a multiple of 8", field, value);
}

void require_positive(double value, std::string_view field) {
  require(std::isfinite(value) && value > 0.0, "model config: {} = {} must be a positive number", field, value);
}

// Sums of element counts stay far below 63 bits, and a damaged file asks for no absurd amount of memory.
constexpr std::int64_t kMaxLayers = 4096;
constexpr std::int64_t kMaxMatrixElements = std::int64_t{1} << 40U;

void require_matrix(std::int64_t rows, std::int64_t columns, std::string_view what) {
  std::int64_t elements = 0;
  require(!__builtin_mul_overflow(rows, columns, &elements) && elements <= kMaxMatrixElements,
          "model config: {} of {} x {} elements is impossibly large", what, rows, columns);
}

void require_scaling(const RopeScaling& scaling) {
  if (scaling.type == RopeScaling::Type::kNone) return;
  require(std::isfinite(scaling.factor) && scaling.factor >= 1.0,
          "model config: rope_scaling.factor = {} must be a number from 1 on", scaling.factor);
  if (scaling.type == RopeScaling::Type::kLinear) return;
  require_positive(scaling.low_freq_factor, "rope_scaling.low_freq_factor");
  require_positive(scaling.high_freq_factor, "rope_scaling.high_freq_factor");
  require(scaling.low_freq_factor < scaling.high_freq_factor,
          "model config: rope_scaling.high_freq_factor = {} must be more than low_freq_factor = {}",
          scaling.high_freq_factor, scaling.low_freq_factor);
  require_size(scaling.original_max_position_embeddings, "rope_scaling.original_max_position_embeddings");
}

}  // namespace

void LlamaConfig::validate() const {
  require_size(vocab_size, "vocab_size");
  require_size(hidden_size, "hidden_size");
  require_size(intermediate_size, "intermediate_size");
  require_size(num_hidden_layers, "num_hidden_layers");
  require_size(num_attention_heads, "num_attention_heads");
  require_size(num_key_value_heads, "num_key_value_heads");
  require_size(head_dim, "head_dim");
  require_size(max_position_embeddings, "max_position_embeddings");
  require_multiple_of_8(hidden_size, "hidden_size");
  require_multiple_of_8(intermediate_size, "intermediate_size");
  require_multiple_of_8(head_dim, "head_dim");
  require(head_dim <= 256, "model config: head_dim = {} must be at most 256", head_dim);
  require(num_attention_heads % num_key_value_heads == 0,
          "model config: num_attention_heads = {} must be a multiple of num_key_value_heads = {}", num_attention_heads,
          num_key_value_heads);
  require_positive(rms_norm_eps, "rms_norm_eps");
  require_positive(rope_theta, "rope_theta");
  require_scaling(rope_scaling);
  require(num_hidden_layers <= kMaxLayers, "model config: num_hidden_layers = {} must be at most {}", num_hidden_layers,
          kMaxLayers);
  require_matrix(vocab_size, hidden_size, "embedding");
  require_matrix(qkv_size(), hidden_size, "query, key and value projection");
  require_matrix(2 * intermediate_size, hidden_size, "gate and up projection");
}

LlamaConfig preset_config(std::string_view name) { return find_preset(name).config; }

std::vector<std::string> preset_names() {
  std::vector<std::string> names;
  for (const Preset& preset : presets()) names.emplace_back(preset.name);
  return names;
}

double preset_learning_rate(std::string_view name) { return find_preset(name).learning_rate; }

}  // namespace llama_zero
