#include "model/config_json.h"

#include <simdjson.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>

#include "core/error.h"

namespace llama_zero {
namespace {

using simdjson::dom::element;
using simdjson::dom::object;
using OrderedJson = nlohmann::ordered_json;

/// Typed access to the fields of one JSON object; null counts as absent. Messages name file and field.
class Fields {
 public:
  Fields(object values, std::string origin) : values_(values), origin_(std::move(origin)) {}

  std::optional<element> find(std::string_view key) const {
    element value;
    if (values_[key].get(value) != simdjson::SUCCESS || value.is_null()) return std::nullopt;
    return value;
  }

  std::int64_t integer(std::string_view key) const {
    const auto value = find(key);
    require(value.has_value(), "{}: field '{}' is missing", origin_, key);
    return to_integer(*value, key);
  }
  std::int64_t integer(std::string_view key, std::int64_t fallback) const {
    const auto value = find(key);
    return value ? to_integer(*value, key) : fallback;
  }

  double number(std::string_view key, double fallback) const {
    const auto value = find(key);
    if (!value) return fallback;
    double result = 0.0;
    require(value->get(result) == simdjson::SUCCESS, "{}: field '{}' must be a number", origin_, key);
    return result;
  }

  bool boolean(std::string_view key, bool fallback) const {
    const auto value = find(key);
    if (!value) return fallback;
    bool result = false;
    require(value->get(result) == simdjson::SUCCESS, "{}: field '{}' must be true or false", origin_, key);
    return result;
  }

  std::string text(std::string_view key, std::string_view fallback) const {
    const auto value = find(key);
    if (!value) return std::string(fallback);
    std::string_view result;
    require(value->get(result) == simdjson::SUCCESS, "{}: field '{}' must be a string", origin_, key);
    return std::string(result);
  }

  std::int64_t to_integer(const element& value, std::string_view key) const {
    std::int64_t result = 0;
    require(value.get(result) == simdjson::SUCCESS, "{}: field '{}' must be an integer", origin_, key);
    return result;
  }

  std::optional<Fields> nested(std::string_view key) const {
    const auto value = find(key);
    if (!value) return std::nullopt;
    object result;
    require(value->get(result) == simdjson::SUCCESS, "{}: field '{}' must be an object", origin_, key);
    return Fields(result, origin_ + ": " + std::string(key));
  }

  const std::string& origin() const { return origin_; }

 private:
  object values_;
  std::string origin_;
};

void refuse_other_models(const Fields& fields) {
  const std::string type = fields.text("model_type", "");
  require(type == "llama", "{}: model_type '{}' is not supported, only 'llama'", fields.origin(), type);
  const std::string activation = fields.text("hidden_act", "silu");
  require(activation == "silu", "{}: hidden_act '{}' is not supported, only 'silu'", fields.origin(), activation);
  for (const std::string_view bias : {"attention_bias", "mlp_bias"}) {
    require(!fields.boolean(bias, false), "{}: {} = true is not supported: Llama-2's projections have no bias",
            fields.origin(), bias);
  }
}

/// Transformers 4 writes rope_theta and rope_scaling; version 5 writes rope_parameters.
double read_rope_theta(const Fields& fields) {
  for (const std::string_view key : {"rope_scaling", "rope_parameters"}) {
    const auto rope = fields.nested(key);
    if (!rope) continue;
    const std::string type = rope->text("rope_type", rope->text("type", "default"));
    require(type == "default", "{}: {} of type '{}' is not supported: only unscaled rotary embeddings are",
            fields.origin(), key, type);
    if (rope->find("rope_theta")) return rope->number("rope_theta", 0.0);
  }
  return fields.number("rope_theta", 10000.0);
}

std::int32_t to_token(std::int64_t id, std::string_view key, const std::string& origin) {
  require(id >= 0 && id <= std::numeric_limits<std::int32_t>::max(), "{}: field '{}' = {} is no token id", origin, key,
          id);
  return static_cast<std::int32_t>(id);
}

HfModelInfo read_info(const Fields& fields) {
  HfModelInfo info;
  const std::string dtype = fields.text("torch_dtype", fields.text("dtype", "float32"));
  if (dtype == "float32") {
    info.torch_dtype = DType::kF32;
  } else if (dtype == "float16") {
    info.torch_dtype = DType::kF16;
  } else if (dtype == "bfloat16") {
    info.torch_dtype = DType::kBF16;
  } else {
    fail("{}: torch_dtype '{}' is not supported: float32, float16 or bfloat16", fields.origin(), dtype);
  }
  info.bos_token_id = to_token(fields.integer("bos_token_id", 1), "bos_token_id", fields.origin());
  const auto eos = fields.find("eos_token_id");
  simdjson::dom::array several;
  if (eos && eos->get(several) == simdjson::SUCCESS) {
    info.eos_token_ids.clear();
    for (const element id : several) {
      info.eos_token_ids.push_back(to_token(fields.to_integer(id, "eos_token_id"), "eos_token_id", fields.origin()));
    }
  } else if (eos) {
    info.eos_token_ids = {to_token(fields.integer("eos_token_id"), "eos_token_id", fields.origin())};
  }
  return info;
}

LlamaConfig read_model(const Fields& fields) {
  LlamaConfig model;
  model.vocab_size = fields.integer("vocab_size");
  model.hidden_size = fields.integer("hidden_size");
  model.intermediate_size = fields.integer("intermediate_size");
  model.num_hidden_layers = fields.integer("num_hidden_layers");
  model.num_attention_heads = fields.integer("num_attention_heads");
  model.num_key_value_heads = fields.integer("num_key_value_heads", model.num_attention_heads);
  require(model.num_attention_heads > 0, "{}: field 'num_attention_heads' must be positive", fields.origin());
  if (!fields.find("head_dim")) {
    require(model.hidden_size % model.num_attention_heads == 0,
            "{}: hidden_size {} is no multiple of num_attention_heads {}, and head_dim is missing", fields.origin(),
            model.hidden_size, model.num_attention_heads);
  }
  model.head_dim = fields.integer("head_dim", model.hidden_size / model.num_attention_heads);
  model.max_position_embeddings = fields.integer("max_position_embeddings", 2048);
  model.rms_norm_eps = fields.number("rms_norm_eps", 1e-6);
  model.rope_theta = read_rope_theta(fields);
  model.tie_word_embeddings = fields.boolean("tie_word_embeddings", false);
  return model;
}

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

}  // namespace

HfConfig parse_config_json(std::string_view text, const std::string& origin) {
  simdjson::dom::parser parser;
  object root;
  const auto error = parser.parse(simdjson::padded_string(text)).get(root);
  require(error == simdjson::SUCCESS, "{}: not a JSON object: {}", origin, simdjson::error_message(error));
  const Fields fields(root, origin);
  refuse_other_models(fields);
  HfConfig config{read_model(fields), read_info(fields)};
  try {
    config.model.validate();
  } catch (const Error& invalid) {
    fail("{}: {}", origin, invalid.what());
  }
  return config;
}

HfConfig read_config_json(const fs::path& path) { return parse_config_json(MappedFile(path).text(), path.string()); }

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
  json["rope_scaling"] = nullptr;
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
