#include "model/param_table.h"

#include <cmath>
#include <utility>

#include "core/error.h"
#include "core/rng.h"

namespace llama_zero {
namespace {

constexpr double kInitStd = 0.02;

/// Appends units and parameters in layout order, giving each its offset.
class Builder {
 public:
  Builder(std::vector<Unit>& units, std::vector<Param>& params) : units_(units), params_(params) {}

  void begin_unit(std::string name) { units_.push_back({std::move(name), 0, {}}); }

  void matrix(const std::string& name, std::int64_t rows, std::int64_t columns, InitRule init, TpAxis axis,
              std::vector<HfSlice> hf) {
    add({name, 0, rows, columns, 0, init, axis, true, std::move(hf)});
  }
  void embedding(const std::string& name, std::int64_t rows, std::int64_t columns, std::string hf_name) {
    add({name, 0, rows, columns, 0, InitRule::kNormal, TpAxis::kRows, false, {{std::move(hf_name), 0, rows}}});
  }
  void norm(const std::string& name, std::int64_t columns, std::string hf_name) {
    add({name, 0, 1, columns, 0, InitRule::kOnes, TpAxis::kNone, false, {{std::move(hf_name), 0, 1}}});
  }

 private:
  void add(Param param) {
    Unit& unit = units_.back();
    param.name = unit.name + "." + param.name;
    param.unit = static_cast<int>(units_.size()) - 1;
    param.offset = unit.numel;
    unit.numel += param.numel();
    unit.params.push_back(static_cast<int>(params_.size()));
    params_.push_back(std::move(param));
  }

  std::vector<Unit>& units_;
  std::vector<Param>& params_;
};

void add_block(Builder& builder, const LlamaConfig& config, std::int64_t layer) {
  const std::string hf = fmt::format("model.layers.{}.", layer);
  const std::int64_t hidden = config.hidden_size;
  const std::int64_t inner = config.intermediate_size;
  const std::int64_t query = config.attention_size();
  const std::int64_t key = config.num_key_value_heads * config.head_dim;

  builder.begin_unit(fmt::format("blocks.{}", layer));
  builder.norm("input_norm", hidden, hf + "input_layernorm.weight");
  builder.matrix("qkv", config.qkv_size(), hidden, InitRule::kNormal, TpAxis::kRows,
                 {{hf + "self_attn.q_proj.weight", 0, query},
                  {hf + "self_attn.k_proj.weight", query, key},
                  {hf + "self_attn.v_proj.weight", query + key, key}});
  builder.matrix("attention_out", hidden, query, InitRule::kNormalResidual, TpAxis::kColumns,
                 {{hf + "self_attn.o_proj.weight", 0, hidden}});
  builder.norm("post_attention_norm", hidden, hf + "post_attention_layernorm.weight");
  builder.matrix("gate_up", 2 * inner, hidden, InitRule::kNormal, TpAxis::kRows,
                 {{hf + "mlp.gate_proj.weight", 0, inner}, {hf + "mlp.up_proj.weight", inner, inner}});
  builder.matrix("down", hidden, inner, InitRule::kNormalResidual, TpAxis::kColumns,
                 {{hf + "mlp.down_proj.weight", 0, hidden}});
}

}  // namespace

ParamTable::ParamTable(const LlamaConfig& config) : config_(config) {
  config.validate();
  Builder builder(units_, params_);
  builder.begin_unit("embedding");
  builder.embedding("embed_tokens", config.vocab_size, config.hidden_size, "model.embed_tokens.weight");
  for (std::int64_t layer = 0; layer < config.num_hidden_layers; ++layer) add_block(builder, config, layer);
  builder.begin_unit("head");
  builder.norm("final_norm", config.hidden_size, "model.norm.weight");
  if (!config.tie_word_embeddings) {
    builder.matrix("lm_head", config.vocab_size, config.hidden_size, InitRule::kNormal, TpAxis::kRows,
                   {{"lm_head.weight", 0, config.vocab_size}});
  }
  for (const Unit& unit : units_) total_numel_ += unit.numel;
}

const Param& ParamTable::find(int unit, const std::string& short_name) const {
  require(unit >= 0 && unit < unit_count(), "parameter table: no unit {}, there are {}", unit, unit_count());
  const Unit& owner = units_[static_cast<std::size_t>(unit)];
  for (const int index : owner.params) {
    const Param& param = params_[static_cast<std::size_t>(index)];
    const std::size_t prefix = owner.name.size() + 1;
    if (param.name.compare(prefix, std::string::npos, short_name) == 0) return param;
  }
  fail("parameter table: unit '{}' has no parameter '{}'", owner.name, short_name);
}

void initial_values(const ParamTable& table, const Param& param, std::uint64_t seed, std::int64_t begin,
                    std::span<float> out) {
  require(begin >= 0 && begin + static_cast<std::int64_t>(out.size()) <= param.numel(),
          "initial values [{}, +{}) of '{}', which has {} elements", begin, out.size(), param.name, param.numel());
  if (param.init == InitRule::kOnes) {
    for (float& value : out) value = 1.0F;
    return;
  }
  const auto layers = static_cast<double>(table.config().num_hidden_layers);
  const double std = param.init == InitRule::kNormalResidual ? kInitStd / std::sqrt(2.0 * layers) : kInitStd;
  const CounterRng rng(seed, stream_id(param.name.c_str()));
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = static_cast<float>(std * rng.normal(static_cast<std::uint64_t>(begin) + i));
  }
}

}  // namespace llama_zero
