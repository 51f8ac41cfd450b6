// Writing config.json and its companions.
#include <nlohmann/json.hpp>
#include <string_view>

#include "core/error.h"
#include "model/config_json.h"

namespace llama_zero {
namespace {

using OrderedJson = nlohmann::ordered_json;

std::string_view torch_name(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "float32";
    case DType::kF16:
      return "float16";
    case DType::kBF16:
      return "bfloat16";
    default:
      fail("config.json cannot name weights of {}", name_of(dtype));
  }
}

OrderedJson eos_value(const HfModelInfo& info) {
  if (info.eos_token_ids.size() == 1) return info.eos_token_ids.front();
  return info.eos_token_ids;
}

OrderedJson scaling_value(const RopeScaling& scaling) {
  if (scaling.type == RopeScaling::Type::kNone) return nullptr;
  OrderedJson json;
  json["factor"] = scaling.factor;
  if (scaling.type == RopeScaling::Type::kLlama3) {
    json["high_freq_factor"] = scaling.high_freq_factor;
    json["low_freq_factor"] = scaling.low_freq_factor;
    json["original_max_position_embeddings"] = scaling.original_max_position_embeddings;
  }
  json["rope_type"] = scaling.type == RopeScaling::Type::kLinear ? "linear" : "llama3";
  return json;
}

}  // namespace

std::string format_config_json(const HfConfig& config) {
  const LlamaConfig& model = config.model;
  OrderedJson json;
  json["architectures"] = OrderedJson::array({"LlamaForCausalLM"});
  json["attention_bias"] = false;
  json["attention_dropout"] = 0.0;
  json["bos_token_id"] = config.info.bos_token_id;
  json["eos_token_id"] = eos_value(config.info);
  json["head_dim"] = model.head_dim;
  json["hidden_act"] = "silu";
  json["hidden_size"] = model.hidden_size;
  json["initializer_range"] = 0.02;
  json["intermediate_size"] = model.intermediate_size;
  json["max_position_embeddings"] = model.max_position_embeddings;
  json["mlp_bias"] = false;
  json["model_type"] = "llama";
  json["num_attention_heads"] = model.num_attention_heads;
  json["num_hidden_layers"] = model.num_hidden_layers;
  json["num_key_value_heads"] = model.num_key_value_heads;
  json["pretraining_tp"] = 1;
  json["rms_norm_eps"] = model.rms_norm_eps;
  json["rope_scaling"] = scaling_value(model.rope_scaling);
  json["rope_theta"] = model.rope_theta;
  json["tie_word_embeddings"] = model.tie_word_embeddings;
  json["torch_dtype"] = torch_name(config.info.torch_dtype);
  json["use_cache"] = true;
  json["vocab_size"] = model.vocab_size;
  return json.dump(2) + "\n";
}

std::string format_generation_config_json(const HfModelInfo& info) {
  OrderedJson json;
  json["bos_token_id"] = info.bos_token_id;
  json["do_sample"] = false;
  json["eos_token_id"] = eos_value(info);
  return json.dump(2) + "\n";
}

std::string format_tokenizer_config_json(std::int64_t max_positions) {
  OrderedJson json;
  json["add_bos_token"] = true;
  json["add_eos_token"] = false;
  json["bos_token"] = "<s>";
  json["clean_up_tokenization_spaces"] = false;
  json["eos_token"] = "</s>";
  json["legacy"] = false;
  json["model_max_length"] = max_positions;
  json["pad_token"] = nullptr;
  json["tokenizer_class"] = "LlamaTokenizer";
  json["unk_token"] = "<unk>";
  return json.dump(2) + "\n";
}

}  // namespace llama_zero
