#include <doctest/doctest.h>

#include "core/error.h"
#include "model/config.h"
#include "model/param_table.h"

using namespace llama_zero;

TEST_CASE("every preset is valid and has a learning rate") {
  const std::vector<std::string> names = preset_names();
  CHECK(names == std::vector<std::string>{"tiny", "125m", "1.3b", "llama2-7b", "llama2-13b"});
  for (const std::string& name : names) {
    CHECK_NOTHROW(preset_config(name).validate());
    CHECK(preset_learning_rate(name) > 0.0);
  }
}

TEST_CASE("presets have the published parameter counts") {
  CHECK(ParamTable(preset_config("llama2-7b")).total_numel() == 6738415616);
  CHECK(ParamTable(preset_config("llama2-13b")).total_numel() == 13015864320);
}

TEST_CASE("an unknown preset is refused with the list") {
  CHECK_THROWS_WITH_AS(preset_config("7b"), "no model preset '7b'; there are tiny, 125m, 1.3b, llama2-7b, llama2-13b",
                       Error);
}

TEST_CASE("a shape that cannot be is refused by field") {
  const auto refused = [](auto change, const char* field) {
    LlamaConfig config = preset_config("tiny");
    change(config);
    CHECK_THROWS_WITH_AS(config.validate(), doctest::Contains(field), Error);
  };
  refused([](LlamaConfig& c) { c.vocab_size = 0; }, "vocab_size = 0");
  refused([](LlamaConfig& c) { c.num_hidden_layers = -1; }, "num_hidden_layers = -1");
  refused([](LlamaConfig& c) { c.hidden_size = 100; }, "hidden_size = 100 must be a multiple of 8");
  refused([](LlamaConfig& c) { c.intermediate_size = 347; }, "intermediate_size = 347 must be a multiple of 8");
  refused([](LlamaConfig& c) { c.head_dim = 20; }, "head_dim = 20 must be a multiple of 8");
  refused([](LlamaConfig& c) { c.head_dim = 264; }, "head_dim = 264 must be at most 256");
  refused([](LlamaConfig& c) { c.num_key_value_heads = 3; },
          "num_attention_heads = 2 must be a multiple of num_key_value_heads = 3");
  refused([](LlamaConfig& c) { c.rms_norm_eps = 0.0; }, "rms_norm_eps");
  refused([](LlamaConfig& c) { c.rope_theta = -1.0; }, "rope_theta");
}
