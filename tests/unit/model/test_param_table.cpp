#include <doctest/doctest.h>

#include <cmath>
#include <set>

#include "core/error.h"
#include "tests/support/model_fixture.h"

using namespace llama_zero;
using namespace llama_zero::test;

TEST_CASE("offsets cover every unit without gaps") {
  for (const bool tied : {false, true}) {
    const ParamTable table(small_config(2, tied));
    std::int64_t total = 0;
    for (const Unit& unit : table.units()) {
      std::int64_t next = 0;
      for (const int index : unit.params) {
        CHECK(table.params()[static_cast<std::size_t>(index)].offset == next);
        next += table.params()[static_cast<std::size_t>(index)].numel();
      }
      CHECK(unit.numel == next);
      total += next;
    }
    CHECK(table.total_numel() == total);
  }
}

TEST_CASE("Hugging Face's slices tile every parameter's rows and have their own names") {
  const ParamTable table(small_config(2, false));
  std::set<std::string> names;
  for (const Param& param : table.params()) {
    std::int64_t row = 0;
    for (const HfSlice& slice : param.hf) {
      CHECK(slice.row_begin == row);
      row += slice.rows;
      CHECK(names.insert(slice.name).second);
    }
    CHECK(row == param.rows);
  }
  CHECK(names.size() == 2 * 9 + 3);
  for (const char* name :
       {"model.embed_tokens.weight", "model.layers.1.input_layernorm.weight", "model.layers.1.self_attn.q_proj.weight",
        "model.layers.0.self_attn.k_proj.weight", "model.layers.0.self_attn.v_proj.weight",
        "model.layers.0.self_attn.o_proj.weight", "model.layers.0.post_attention_layernorm.weight",
        "model.layers.0.mlp.gate_proj.weight", "model.layers.0.mlp.up_proj.weight",
        "model.layers.0.mlp.down_proj.weight", "model.norm.weight", "lm_head.weight"}) {
    CHECK_MESSAGE(names.count(name) == 1, name);
  }
}

TEST_CASE("grouped-query slices have the sizes of their heads") {
  const LlamaConfig config = small_config(2, false);
  const ParamTable table(config);
  const Param& qkv = table.find(table.block_unit(1), "qkv");
  CHECK(qkv.name == "blocks.1.qkv");
  REQUIRE(qkv.hf.size() == 3);
  CHECK(qkv.hf[0].rows == 32);
  CHECK(qkv.hf[1].row_begin == 32);
  CHECK(qkv.hf[1].rows == 16);
  CHECK(qkv.hf[2].row_begin == 48);
  CHECK(qkv.rows == config.qkv_size());
}

TEST_CASE("a tied model has no lm_head") {
  const ParamTable table(small_config(4, true));
  CHECK(table.units().back().numel == 32);
  CHECK_THROWS_WITH_AS(table.find(table.head_unit(), "lm_head"),
                       doctest::Contains("unit 'head' has no parameter 'lm_head'"), Error);
}

TEST_CASE("only norms and embeddings are exempt from weight decay when asked") {
  const ParamTable table(small_config());
  for (const Param& param : table.params()) {
    const bool exempt = param.rows == 1 || param.name == "embedding.embed_tokens";
    CHECK(param.weight_decay == !exempt);
  }
}

TEST_CASE("initial values do not depend on how a parameter is split") {
  const ParamTable table(small_config());
  const Param& param = table.find(table.block_unit(0), "gate_up");
  std::vector<float> whole(static_cast<std::size_t>(param.numel()));
  initial_values(table, param, 42, 0, whole);
  for (const std::int64_t piece : {1, 7, 1000}) {
    std::vector<float> pieces(whole.size());
    for (std::int64_t begin = 0; begin < param.numel(); begin += piece) {
      const auto count = static_cast<std::size_t>(std::min(piece, param.numel() - begin));
      initial_values(table, param, 42, begin, std::span(pieces).subspan(static_cast<std::size_t>(begin), count));
    }
    CHECK(pieces == whole);
  }
  CHECK_THROWS_AS(initial_values(table, param, 42, 1, whole), Error);
}

TEST_CASE("initial values differ by seed and parameter") {
  const ParamTable table(small_config());
  std::vector<float> a(100);
  std::vector<float> b(100);
  initial_values(table, table.find(1, "qkv"), 1, 0, a);
  initial_values(table, table.find(1, "qkv"), 2, 0, b);
  CHECK(a != b);
  initial_values(table, table.find(2, "qkv"), 1, 0, b);
  CHECK(a != b);
}

TEST_CASE("initial values have the mean and spread of their rule") {
  LlamaConfig config = small_config();
  config.hidden_size = 128;
  config.num_hidden_layers = 8;
  const ParamTable table(config);
  const auto check_statistics = [&](const Param& param, double std) {
    std::vector<float> values(static_cast<std::size_t>(param.numel()));
    initial_values(table, param, 5, 0, values);
    double sum = 0.0;
    double squares = 0.0;
    for (const float value : values) {
      sum += value;
      squares += static_cast<double>(value) * value;
    }
    const auto n = static_cast<double>(values.size());
    // Five standard errors of the mean and of the standard deviation.
    INFO(param.name << ": mean " << sum / n << ", standard deviation " << std::sqrt(squares / n) << ", expected "
                    << std);
    CHECK(std::abs(sum / n) < 5.0 * std / std::sqrt(n));
    CHECK(std::abs(std::sqrt(squares / n) - std) < 5.0 * std / std::sqrt(2.0 * n));
  };
  check_statistics(table.find(0, "embed_tokens"), 0.02);
  check_statistics(table.find(1, "qkv"), 0.02);
  check_statistics(table.find(1, "attention_out"), 0.02 / 4.0);
  check_statistics(table.find(1, "down"), 0.02 / 4.0);
  std::vector<float> norm(128);
  initial_values(table, table.find(1, "input_norm"), 5, 0, norm);
  CHECK(norm == std::vector<float>(128, 1.0F));
}

TEST_CASE("the reader of initial values gives any range of a unit") {
  const ParamTable table(small_config());
  const UnitReader read = initial_value_reader(table, 3);
  std::vector<float> whole(static_cast<std::size_t>(table.units()[1].numel));
  read(1, 0, whole);
  std::vector<float> part(500);
  read(1, 20, part);
  CHECK(std::equal(part.begin(), part.end(), whole.begin() + 20));
}
