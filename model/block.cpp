#include "model/block.h"

#include <cmath>

namespace llama_zero {
namespace {

template <typename ViewType>
ViewType slice(const ParamTable& table, int unit, const char* short_name, const ViewType& values) {
  const Param& param = table.find(unit, short_name);
  return values.slice(param.offset, param.numel());
}

template <typename ViewType>
BlockParams<ViewType> slice_all(const ParamTable& table, int unit, const ViewType& values) {
  return {slice(table, unit, "input_norm", values),    slice(table, unit, "qkv", values),
          slice(table, unit, "attention_out", values), slice(table, unit, "post_attention_norm", values),
          slice(table, unit, "gate_up", values),       slice(table, unit, "down", values)};
}

void linear(const BlockContext& c, ConstView input, std::int64_t in, ConstView weight, std::int64_t out, View output) {
  c.ops.linear_forward({c.tokens, in, out, input, weight, output}, c.stream);
}

void linear_backward(const BlockContext& c, ConstView grad_output, std::int64_t out, ConstView input, ConstView weight,
                     std::int64_t in, View grad_input, View grad_weight, bool accumulate) {
  c.ops.linear_backward_weight({c.tokens, in, out, grad_output, input, grad_weight, accumulate}, c.stream);
  c.ops.linear_backward_input({c.tokens, in, out, grad_output, weight, grad_input, false}, c.stream);
}

/// Norm of the sum that is already formed.
void norm(const BlockContext& c, ConstView input, ConstView weight, View output, View rstd) {
  c.ops.rmsnorm_forward(
      {c.tokens, c.config.hidden_size, c.config.rms_norm_eps, input, ConstView{}, weight, View{}, output, rstd},
      c.stream);
}

/// sum = stream + branch, then its norm.
void add_norm(const BlockContext& c, ConstView stream, ConstView branch, ConstView weight, View sum, View output,
              View rstd) {
  c.ops.rmsnorm_forward(
      {c.tokens, c.config.hidden_size, c.config.rms_norm_eps, branch, stream, weight, sum, output, rstd}, c.stream);
}

void rope(const BlockContext& c, View qkv, bool inverse) {
  c.ops.rope({c.tokens, c.config.num_attention_heads, c.config.num_key_value_heads, c.config.head_dim, c.max_positions,
              qkv, c.positions, c.cos_sin, inverse},
             c.stream);
}

void swiglu(const BlockContext& c, const BlockActivations& a) {
  c.ops.swiglu_forward({c.tokens, c.config.intermediate_size, a.gate_up, a.swiglu}, c.stream);
}

void attention(const BlockContext& c, const BlockActivations& a) {
  c.ops.attention_forward({c.tokens, c.config.num_attention_heads, c.config.num_key_value_heads, c.config.head_dim,
                           c.attention_scale(), a.qkv, c.documents, a.attention, a.log_sum_exp},
                          c.stream);
}

/// The norm's output, then everything before attention.
void project(const BlockContext& c, const BlockWeights& w, const BlockActivations& a) {
  linear(c, a.input_norm, c.config.hidden_size, w.qkv, c.config.qkv_size(), a.qkv);
  rope(c, a.qkv, false);
}

/// The input norm, forming the sum unless the stream came alone.
void input_norm(const BlockContext& c, const BlockWeights& w, const ResidualPair& in, const BlockActivations& a) {
  if (in.branch) {
    add_norm(c, in.stream, in.branch, w.input_norm, a.input_sum, a.input_norm, a.input_rstd);
  } else {
    norm(c, a.input_sum, w.input_norm, a.input_norm, a.input_rstd);
  }
}

/// Everything from the attention output up to the product that the down projection reads.
void feed_forward_inputs(const BlockContext& c, const BlockWeights& w, const BlockActivations& a, View branch) {
  const std::int64_t hidden = c.config.hidden_size;
  linear(c, a.attention, c.config.attention_size(), w.attention_out, hidden, branch);
  // Tensor parallelism's first all-reduce, of `branch`, stands here.
  add_norm(c, a.input_sum, branch, w.post_attention_norm, a.middle_sum, a.middle_norm, a.middle_rstd);
  linear(c, a.middle_norm, hidden, w.gate_up, 2 * c.config.intermediate_size, a.gate_up);
  swiglu(c, a);
}

ResidualPair finish(const BlockContext& c, const BlockWeights& w, const BlockActivations& a, View branch) {
  feed_forward_inputs(c, w, a, branch);
  linear(c, a.swiglu, c.config.intermediate_size, w.down, c.config.hidden_size, branch);
  // Tensor parallelism's second all-reduce, of `branch`, stands here.
  return {a.middle_sum, branch};
}

}  // namespace

BlockWeights slice_block(const ParamTable& table, int unit, ConstView values) { return slice_all(table, unit, values); }
BlockWeightGradients slice_block(const ParamTable& table, int unit, View values) {
  return slice_all(table, unit, values);
}

ConstView slice_param(const ParamTable& table, int unit, const char* short_name, ConstView values) {
  return slice(table, unit, short_name, values);
}
View slice_param(const ParamTable& table, int unit, const char* short_name, View values) {
  return slice(table, unit, short_name, values);
}

double BlockContext::attention_scale() const { return 1.0 / std::sqrt(static_cast<double>(config.head_dim)); }

ResidualPair block_forward(const BlockContext& c, const BlockWeights& w, const ResidualPair& input,
                           const BlockActivations& a, View branch) {
  input_norm(c, w, input, a);
  project(c, w, a);
  attention(c, a);
  return finish(c, w, a, branch);
}

void block_recompute(const BlockContext& c, const BlockWeights& w, ActivationCheckpointing mode,
                     const BlockActivations& a, View branch) {
  if (mode == ActivationCheckpointing::kNone) return;
  norm(c, a.input_sum, w.input_norm, a.input_norm, a.input_rstd);
  if (mode == ActivationCheckpointing::kSelective) {
    norm(c, a.middle_sum, w.post_attention_norm, a.middle_norm, a.middle_rstd);
    swiglu(c, a);
    return;
  }
  project(c, w, a);
  attention(c, a);
  feed_forward_inputs(c, w, a, branch);
}

void block_backward(const BlockContext& c, const BlockWeights& w, const BlockActivations& a,
                    const BlockGradients& scratch, const BlockWeightGradients& grads, bool accumulate, View gradient) {
  const LlamaConfig& config = c.config;
  const std::int64_t hidden = config.hidden_size;
  const std::int64_t inner = config.intermediate_size;
  const View grad_swiglu = scratch.wide.slice(0, c.tokens * inner);
  const View grad_attention = scratch.wide.slice(0, c.tokens * config.attention_size());

  // 1. Feed-forward.
  linear_backward(c, gradient, hidden, a.swiglu, w.down, inner, grad_swiglu, grads.down, accumulate);
  const View grad_gate_up = a.gate_up;
  c.ops.swiglu_backward({c.tokens, inner, grad_swiglu, a.gate_up, grad_gate_up}, c.stream);
  linear_backward(c, grad_gate_up, 2 * inner, a.middle_norm, w.gate_up, hidden, scratch.norm, grads.gate_up,
                  accumulate);
  // Tensor parallelism's all-reduce of scratch.norm, the gradient of the replicated norm output, stands here.

  // 2. Its norm; the residual path's gradient is added in the same op.
  c.ops.rmsnorm_backward({c.tokens, hidden, scratch.norm, a.middle_sum, w.post_attention_norm, a.middle_rstd, gradient,
                          gradient, grads.post_attention_norm, accumulate},
                         c.stream);

  // 3. Attention.
  linear_backward(c, gradient, hidden, a.attention, w.attention_out, config.attention_size(), grad_attention,
                  grads.attention_out, accumulate);
  c.ops.attention_backward(
      {c.tokens, config.num_attention_heads, config.num_key_value_heads, config.head_dim, c.attention_scale(),
       grad_attention, a.qkv, a.attention, a.log_sum_exp, c.documents, scratch.qkv},
      c.stream);
  rope(c, scratch.qkv, true);
  linear_backward(c, scratch.qkv, config.qkv_size(), a.input_norm, w.qkv, hidden, scratch.norm, grads.qkv, accumulate);
  // Tensor parallelism's second all-reduce of the backward, of scratch.norm, stands here.

  // 4. Its norm.
  c.ops.rmsnorm_backward({c.tokens, hidden, scratch.norm, a.input_sum, w.input_norm, a.input_rstd, gradient, gradient,
                          grads.input_norm, accumulate},
                         c.stream);
}

ResidualPair block_prefill(const BlockContext& c, const BlockWeights& w, const ResidualPair& input,
                           const BlockActivations& a, View branch, const LayerCache& cache) {
  const LlamaConfig& config = c.config;
  input_norm(c, w, input, a);
  project(c, w, a);
  c.ops.store_key_value({c.tokens, config.num_attention_heads, config.num_key_value_heads, config.head_dim,
                         cache.capacity, a.qkv, c.documents, cache.keys, cache.values},
                        c.stream);
  attention(c, a);
  return finish(c, w, a, branch);
}

ResidualPair block_decode(const BlockContext& c, const BlockWeights& w, const ResidualPair& input,
                          const BlockActivations& a, View branch, const LayerCache& cache, ConstView lengths,
                          std::span<const std::int32_t> host_lengths) {
  const LlamaConfig& config = c.config;
  input_norm(c, w, input, a);
  project(c, w, a);
  c.ops.attention_decode(
      {c.tokens, config.num_attention_heads, config.num_key_value_heads, config.head_dim, cache.capacity,
       c.attention_scale(), a.qkv, lengths, host_lengths, cache.keys, cache.values, a.attention},
      c.stream);
  return finish(c, w, a, branch);
}

}  // namespace llama_zero
