// The shape of a Llama-2 model: config.json of a Hugging Face folder, and the presets.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace llama_zero {

/// How the rotary embedding's frequencies are stretched for longer contexts; names are those of Hugging Face's
/// rope_scaling. Formulas: model/rope_table.h.
struct RopeScaling {
  enum class Type { kNone, kLinear, kLlama3 };
  Type type = Type::kNone;
  double factor = 1.0;  ///< at least 1
  // kLlama3 alone.
  double low_freq_factor = 1.0;
  double high_freq_factor = 4.0;  ///< more than low_freq_factor
  std::int64_t original_max_position_embeddings = 8192;

  bool operator==(const RopeScaling&) const = default;
};

/// Field names are those of Hugging Face's LlamaConfig.
struct LlamaConfig {
  std::int64_t vocab_size = 32000;
  std::int64_t hidden_size = 4096;
  std::int64_t intermediate_size = 11008;
  std::int64_t num_hidden_layers = 32;
  std::int64_t num_attention_heads = 32;
  std::int64_t num_key_value_heads = 32;
  std::int64_t head_dim = 128;
  std::int64_t max_position_embeddings = 4096;
  double rms_norm_eps = 1e-5;
  double rope_theta = 10000.0;
  RopeScaling rope_scaling;
  bool tie_word_embeddings = false;

  std::int64_t qkv_size() const { return (num_attention_heads + 2 * num_key_value_heads) * head_dim; }
  std::int64_t attention_size() const { return num_attention_heads * head_dim; }

  /// Throws Error naming the field that cannot be: sizes below 1, hidden_size or intermediate_size not a multiple of 8
  /// (rows of every matrix start on 16-byte boundaries in 16 bits), heads that do not divide, head_dim not a multiple
  /// of 8 or above 256, more than 4096 layers or 2^40 elements in a matrix, eps or theta not positive, factors of
  /// rope_scaling out of order.
  void validate() const;
  bool operator==(const LlamaConfig&) const = default;
};

/// "tiny", "125m", "1.3b", "llama2-7b", "llama2-13b"; throws Error listing them for any other name. `vocab_size` is the
/// preset's own (32,000; tiny: the bundled tokenizer's); the launcher replaces it for a randomly initialised model when
/// the tokenizer has another.
LlamaConfig preset_config(std::string_view name);
std::vector<std::string> preset_names();
/// Learning rate that a randomly initialised preset trains well with ("auto" in a config).
double preset_learning_rate(std::string_view name);

}  // namespace llama_zero
