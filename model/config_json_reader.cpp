#include <simdjson.h>

#include <limits>
#include <string_view>

#include "core/error.h"
#include "model/config_json.h"
#include "model/json_fields.h"
#include "model/printable.h"

namespace llama_zero {
namespace {

using simdjson::dom::element;
using simdjson::dom::object;

constexpr std::size_t kMaxConfigBytes = std::size_t{16} << 20U;

void refuse_class(const JsonFields& fields) {
  const std::string type = fields.text("model_type", "");
  require(type == "llama", "{}: model_type '{}' is not supported, only 'llama'", fields.origin(), printable(type));
  const auto classes = fields.find("architectures");
  if (!classes) return;
  simdjson::dom::array names;
  require(classes->get(names) == simdjson::SUCCESS, "{}: field 'architectures' must be a list", fields.origin());
  for (const element name : names) {
    std::string_view text;
    const bool is_text = name.get(text) == simdjson::SUCCESS;
    require(is_text && text == "LlamaForCausalLM", "{}: architecture '{}' is not supported, only 'LlamaForCausalLM'",
            fields.origin(), printable(text));
  }
}

/// What would change the numbers and is not built: said by name, never ignored.
void refuse_other_models(const JsonFields& fields) {
  refuse_class(fields);
  const std::string& origin = fields.origin();
  const std::string activation = fields.text("hidden_act", "silu");
  require(activation == "silu", "{}: hidden_act '{}' is not supported, only 'silu'", origin, printable(activation));
  for (const std::string_view bias : {"attention_bias", "mlp_bias"}) {
    require(!fields.boolean(bias, false), "{}: {} = true is not supported: Llama-2's projections have no bias", origin,
            bias);
  }
  require(fields.number("attention_dropout", 0.0) == 0.0, "{}: attention_dropout is not supported, only 0", origin);
  require(fields.number("partial_rotary_factor", 1.0) == 1.0, "{}: partial_rotary_factor is not supported, only 1",
          origin);
  for (const std::string_view key : {"quantization_config", "sliding_window"}) {
    require(!fields.find(key), "{}: {} is not supported: weights are fp32, fp16 or bf16, attention is full", origin,
            key);
  }
}

double required_number(const JsonFields& fields, std::string_view key) {
  require(fields.find(key).has_value(), "{}: field '{}' is missing", fields.origin(), key);
  return fields.number(key, 0.0);
}

/// `rope` is the object, `key` its name in the file.
RopeScaling read_scaling(const JsonFields& rope, std::string_view key) {
  RopeScaling scaling;
  const std::string type = rope.text("rope_type", rope.text("type", "default"));
  if (type == "default") return scaling;
  if (type == "linear") {
    scaling.type = RopeScaling::Type::kLinear;
  } else if (type == "llama3") {
    scaling.type = RopeScaling::Type::kLlama3;
    scaling.low_freq_factor = required_number(rope, "low_freq_factor");
    scaling.high_freq_factor = required_number(rope, "high_freq_factor");
    scaling.original_max_position_embeddings = rope.integer("original_max_position_embeddings");
  } else {
    fail("{}: type '{}' is not supported: {} may be default, linear or llama3", rope.origin(), printable(type), key);
  }
  scaling.factor = required_number(rope, "factor");
  return scaling;
}

/// Transformers 4 writes rope_theta and rope_scaling; version 5 writes both into rope_parameters.
void read_rope(const JsonFields& fields, LlamaConfig& model) {
  model.rope_theta = fields.number("rope_theta", 10000.0);
  for (const std::string_view key : {"rope_scaling", "rope_parameters"}) {
    const auto rope = fields.nested(key);
    if (!rope) continue;
    const RopeScaling scaling = read_scaling(*rope, key);
    if (scaling.type != RopeScaling::Type::kNone) model.rope_scaling = scaling;
    model.rope_theta = rope->number("rope_theta", model.rope_theta);
  }
}

std::int32_t to_token(std::int64_t id, std::string_view key, const std::string& origin) {
  require(id >= 0 && id <= std::numeric_limits<std::int32_t>::max(), "{}: field '{}' = {} is no token id", origin, key,
          id);
  return static_cast<std::int32_t>(id);
}

HfModelInfo read_info(const JsonFields& fields) {
  HfModelInfo info;
  const std::string dtype = fields.text("torch_dtype", fields.text("dtype", "float32"));
  if (dtype == "float32") {
    info.torch_dtype = DType::kF32;
  } else if (dtype == "float16") {
    info.torch_dtype = DType::kF16;
  } else if (dtype == "bfloat16") {
    info.torch_dtype = DType::kBF16;
  } else {
    fail("{}: torch_dtype '{}' is not supported: float32, float16 or bfloat16", fields.origin(), printable(dtype));
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

LlamaConfig read_model(const JsonFields& fields) {
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
  read_rope(fields, model);
  model.tie_word_embeddings = fields.boolean("tie_word_embeddings", false);
  return model;
}

}  // namespace

HfConfig parse_config_json(std::string_view text, const std::string& origin) {
  require(text.size() <= kMaxConfigBytes, "{}: {} bytes are too many for a config.json", origin, text.size());
  simdjson::dom::parser parser;
  object root;
  const auto error = parser.parse(simdjson::padded_string(text)).get(root);
  require(error == simdjson::SUCCESS, "{}: not a JSON object: {}", origin, simdjson::error_message(error));
  const JsonFields fields(root, origin);
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

}  // namespace llama_zero
