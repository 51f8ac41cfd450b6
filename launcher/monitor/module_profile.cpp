#include "launcher/monitor/module_profile.h"

#include <fmt/format.h>

#include <utility>

namespace llama_zero {
namespace {

double as_double(std::int64_t value) { return static_cast<double>(value); }

/// A parent: the sum of its children, and flops and MACs of its own.
ModuleProfile parent(std::string name, std::string class_name, std::vector<ModuleProfile> children) {
  ModuleProfile module{std::move(name), std::move(class_name), "", 0.0, 0.0, 0.0, std::nullopt, std::move(children)};
  for (const ModuleProfile& child : module.children) {
    module.params += child.params;
    module.macs += child.macs;
    module.flops += child.flops;
    if (child.forward_ms) module.forward_ms = module.forward_ms.value_or(0.0) + *child.forward_ms;
  }
  return module;
}

class Profiler {
 public:
  Profiler(const LlamaConfig& config, const ForwardShape& shape, std::span<const double> times)
      : config_(config), tokens_(as_double(shape.tokens)), pairs_(shape.attention_pairs), times_(times) {}

  ModuleProfile model() const {
    std::vector<ModuleProfile> layers;
    for (std::int64_t layer = 0; layer < config_.num_hidden_layers; ++layer) layers.push_back(decoder_layer(layer));
    ModuleProfile inner = parent("model", "LlamaModel",
                                 {embedding(), parent("layers", "ModuleList", std::move(layers)), rms_norm("norm")});
    ModuleProfile head = linear("lm_head", config_.hidden_size, config_.vocab_size);
    head.forward_ms = time_of(config_.num_hidden_layers + 1);
    if (config_.tie_word_embeddings) head.params = 0.0;  // the embedding's
    return parent("", "LlamaForCausalLM", {std::move(inner), std::move(head)});
  }

 private:
  std::optional<double> time_of(std::int64_t unit) const {
    const auto at = static_cast<std::size_t>(unit);
    return at < times_.size() ? std::optional(times_[at]) : std::nullopt;
  }

  ModuleProfile embedding() const {
    const double params = as_double(config_.vocab_size) * as_double(config_.hidden_size);
    return {"embed_tokens", "Embedding", fmt::format("{}, {}", config_.vocab_size, config_.hidden_size),
            params,         0.0,         0.0,
            time_of(0),     {}};
  }

  ModuleProfile linear(std::string name, std::int64_t in, std::int64_t out) const {
    const double params = as_double(in) * as_double(out);
    const double macs = tokens_ * params;
    return {std::move(name), "Linear", fmt::format("in_features={}, out_features={}, bias=False", in, out),
            params,          macs,     2.0 * macs,
            std::nullopt,    {}};
  }

  ModuleProfile rms_norm(std::string name) const {
    const double size = as_double(config_.hidden_size);
    return {std::move(name),
            "LlamaRMSNorm",
            fmt::format("({},)", config_.hidden_size),
            size,
            0.0,
            4.0 * tokens_ * size,
            std::nullopt,
            {}};
  }

  ModuleProfile attention() const {
    const std::int64_t heads = config_.attention_size();
    const std::int64_t kv = config_.num_key_value_heads * config_.head_dim;
    ModuleProfile module =
        parent("self_attn", "LlamaAttention",
               {linear("q_proj", config_.hidden_size, heads), linear("k_proj", config_.hidden_size, kv),
                linear("v_proj", config_.hidden_size, kv), linear("o_proj", heads, config_.hidden_size)});
    const double macs = 2.0 * pairs_ * as_double(heads);
    module.macs += macs;
    module.flops += 2.0 * macs + 3.0 * tokens_ * as_double(heads + kv);
    return module;
  }

  ModuleProfile mlp() const {
    const double elements = tokens_ * as_double(config_.intermediate_size);
    ModuleProfile module = parent("mlp", "LlamaMLP",
                                  {linear("gate_proj", config_.hidden_size, config_.intermediate_size),
                                   linear("up_proj", config_.hidden_size, config_.intermediate_size),
                                   linear("down_proj", config_.intermediate_size, config_.hidden_size),
                                   {"act_fn", "SiLU", "", 0.0, 0.0, elements, std::nullopt, {}}});
    module.flops += elements;
    return module;
  }

  ModuleProfile decoder_layer(std::int64_t layer) const {
    ModuleProfile module =
        parent(std::to_string(layer), "LlamaDecoderLayer",
               {attention(), mlp(), rms_norm("input_layernorm"), rms_norm("post_attention_layernorm")});
    module.flops += 2.0 * tokens_ * as_double(config_.hidden_size);
    module.forward_ms = time_of(layer + 1);
    return module;
  }

  const LlamaConfig& config_;
  double tokens_, pairs_;
  std::span<const double> times_;
};

}  // namespace

ForwardShape shape_of(std::span<const Pass> passes) {
  ForwardShape shape;
  for (const Pass& pass : passes) {
    shape.tokens += pass.tokens_count();
    for (std::size_t d = 0; d + 1 < pass.cu_seqlens.size(); ++d) {
      if (pass.cu_seqlens[d] >= pass.attended_tokens) break;
      const double length = pass.cu_seqlens[d + 1] - pass.cu_seqlens[d];
      shape.attention_pairs += length * (length + 1.0) / 2.0;
    }
  }
  return shape;
}

ModuleProfile profile_model(const LlamaConfig& config, const ForwardShape& shape,
                            std::span<const double> unit_forward_ms) {
  return Profiler(config, shape, unit_forward_ms).model();
}

}  // namespace llama_zero
