// config.json of a Hugging Face Llama folder: reading (what this program cannot do is refused by name) and writing.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/dtype.h"
#include "core/files.h"
#include "model/config.h"

namespace llama_zero {

/// What config.json says beside the shape.
struct HfModelInfo {
  DType torch_dtype = DType::kF32;  ///< fp32, fp16 or bf16: storage of the weights
  std::int32_t bos_token_id = 1;
  std::vector<std::int32_t> eos_token_ids{2};  ///< one, or several that all end a text
};

struct HfConfig {
  LlamaConfig model;
  HfModelInfo info;
};

/// Parses the text of a config.json; `origin` names it in messages. Absent fields take LlamaConfig's defaults of
/// Hugging Face (num_key_value_heads = num_attention_heads, head_dim = hidden_size / heads, rms_norm_eps 1e-6,
/// rope_theta 10000, untied). Rotary scaling may be linear or llama3, under rope_scaling (with `rope_type` or the older
/// `type`) or rope_parameters. Throws Error naming file and field for another model_type or architecture, other
/// scaling, biases, dropout, quantisation, another activation than silu, a field that is missing, mistyped or there
/// twice, or a shape that LlamaConfig::validate refuses.
HfConfig parse_config_json(std::string_view text, const std::string& origin);
HfConfig read_config_json(const fs::path& path);

/// The text of a config.json that Hugging Face's LlamaForCausalLM loads.
std::string format_config_json(const HfConfig& config);
/// The text of the matching generation_config.json (greedy).
std::string format_generation_config_json(const HfModelInfo& info);
/// The text of a tokenizer_config.json with which Hugging Face loads tokenizer.model as Llama-2's tokenizer.
std::string format_tokenizer_config_json(std::int64_t max_positions);

}  // namespace llama_zero
