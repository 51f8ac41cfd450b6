#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "model/config_json.h"

using namespace llama_zero;

namespace {

nlohmann::json minimal() {
  return {{"model_type", "llama"},   {"vocab_size", 100},      {"hidden_size", 64},
          {"intermediate_size", 96}, {"num_hidden_layers", 3}, {"num_attention_heads", 4}};
}

void refused(const nlohmann::json& json, const char* words) {
  CHECK_THROWS_WITH_AS(parse_config_json(json.dump(), "config.json"), doctest::Contains(words), Error);
}

}  // namespace

TEST_CASE("config.json round trip keeps every field") {
  HfConfig config;
  config.model.vocab_size = 509;
  config.model.hidden_size = 64;
  config.model.intermediate_size = 176;
  config.model.num_hidden_layers = 3;
  config.model.num_attention_heads = 8;
  config.model.num_key_value_heads = 2;
  config.model.head_dim = 16;
  config.model.max_position_embeddings = 777;
  config.model.rms_norm_eps = 3e-6;
  config.model.rope_theta = 12345.5;
  config.model.tie_word_embeddings = true;
  config.info.torch_dtype = DType::kBF16;
  config.info.bos_token_id = 7;
  config.info.eos_token_ids = {8, 9};
  const HfConfig back = parse_config_json(format_config_json(config), "config.json");
  CHECK(back.model == config.model);
  CHECK(back.info.torch_dtype == DType::kBF16);
  CHECK(back.info.bos_token_id == 7);
  CHECK(back.info.eos_token_ids == config.info.eos_token_ids);
}

TEST_CASE("config.json has the fields by which Hugging Face finds the model class") {
  const auto json = nlohmann::json::parse(format_config_json({}));
  CHECK(json["architectures"] == nlohmann::json::array({"LlamaForCausalLM"}));
  CHECK(json["model_type"] == "llama");
  CHECK(json["torch_dtype"] == "float32");
  CHECK(json["eos_token_id"] == 2);
  CHECK(json["rope_scaling"].is_null());
  const auto generation = nlohmann::json::parse(format_generation_config_json({}));
  CHECK(generation["eos_token_id"] == 2);
  CHECK(nlohmann::json::parse(format_tokenizer_config_json(512))["tokenizer_class"] == "LlamaTokenizer");
}

TEST_CASE("absent fields take Hugging Face's defaults") {
  const HfConfig config = parse_config_json(minimal().dump(), "config.json");
  CHECK(config.model.num_key_value_heads == 4);
  CHECK(config.model.head_dim == 16);
  CHECK(config.model.max_position_embeddings == 2048);
  CHECK(config.model.rms_norm_eps == 1e-6);
  CHECK(config.model.rope_theta == 10000.0);
  CHECK_FALSE(config.model.tie_word_embeddings);
  CHECK(config.info.eos_token_ids == std::vector<std::int32_t>{2});
}

TEST_CASE("the rotary base is read from rope_parameters too") {
  auto json = minimal();
  json["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 500000.0}};
  CHECK(parse_config_json(json.dump(), "config.json").model.rope_theta == 500000.0);
}

TEST_CASE("rotary scaling is read in every spelling that Hugging Face wrote") {
  for (const char* type : {"type", "rope_type"}) {
    for (const char* section : {"rope_scaling", "rope_parameters"}) {
      auto json = minimal();
      json[section] = {{type, "linear"}, {"factor", 2.5}};
      const RopeScaling linear = parse_config_json(json.dump(), "config.json").model.rope_scaling;
      CHECK(linear.type == RopeScaling::Type::kLinear);
      CHECK(linear.factor == 2.5);
      json[section] = {{type, "llama3"},
                       {"factor", 8.0},
                       {"low_freq_factor", 1.0},
                       {"high_freq_factor", 4.0},
                       {"original_max_position_embeddings", 8192}};
      const RopeScaling llama3 = parse_config_json(json.dump(), "config.json").model.rope_scaling;
      CHECK(llama3 == RopeScaling{RopeScaling::Type::kLlama3, 8.0, 1.0, 4.0, 8192});
      json[section].erase("high_freq_factor");
      refused(json, "field 'high_freq_factor' is missing");
    }
  }
}

TEST_CASE("rotary scaling survives the round trip") {
  HfConfig config;
  for (const RopeScaling& scaling :
       {RopeScaling{RopeScaling::Type::kLinear, 4.0}, RopeScaling{RopeScaling::Type::kLlama3, 32.0, 1.5, 5.0, 4096}}) {
    config.model.rope_scaling = scaling;
    const RopeScaling back = parse_config_json(format_config_json(config), "config.json").model.rope_scaling;
    CHECK(back.type == scaling.type);
    CHECK(back.factor == scaling.factor);
    if (scaling.type == RopeScaling::Type::kLlama3) CHECK(back == scaling);
  }
}

TEST_CASE("what the model cannot do is refused by name") {
  auto json = minimal();
  json["model_type"] = "mistral";
  refused(json, "model_type 'mistral' is not supported");
  json = minimal();
  json["rope_scaling"] = {{"type", "yarn"}, {"factor", 2.0}};
  refused(json,
          "config.json: rope_scaling: type 'yarn' is not supported: rope_scaling may be default, linear or llama3");
  json = minimal();
  json["architectures"] = {"LlamaForSequenceClassification"};
  refused(json, "architecture 'LlamaForSequenceClassification' is not supported, only 'LlamaForCausalLM'");
  json = minimal();
  json["attention_dropout"] = 0.1;
  refused(json, "attention_dropout is not supported");
  json = minimal();
  json["quantization_config"] = {{"bits", 4}};
  refused(json, "quantization_config is not supported");
  json = minimal();
  json["hidden_act"] = "gelu";
  refused(json, "hidden_act 'gelu' is not supported");
  json = minimal();
  json["attention_bias"] = true;
  refused(json, "attention_bias = true is not supported");
  json = minimal();
  json["mlp_bias"] = true;
  refused(json, "mlp_bias = true is not supported");
  json = minimal();
  json["torch_dtype"] = "float64";
  refused(json, "torch_dtype 'float64' is not supported");
}

TEST_CASE("missing and mistyped fields are named") {
  auto json = minimal();
  json.erase("hidden_size");
  refused(json, "config.json: field 'hidden_size' is missing");
  json = minimal();
  json["vocab_size"] = "many";
  refused(json, "config.json: field 'vocab_size' must be an integer");
  json = minimal();
  json["rms_norm_eps"] = "small";
  refused(json, "field 'rms_norm_eps' must be a number");
  json = minimal();
  json["tie_word_embeddings"] = 1;
  refused(json, "field 'tie_word_embeddings' must be true or false");
  json = minimal();
  json["num_attention_heads"] = 5;
  refused(json, "hidden_size 64 is no multiple of num_attention_heads 5");
  json = minimal();
  json["intermediate_size"] = 97;
  refused(json, "config.json: model config: intermediate_size = 97");
  CHECK_THROWS_WITH_AS(parse_config_json("{", "config.json"), doctest::Contains("config.json: not a JSON object"),
                       Error);
}
