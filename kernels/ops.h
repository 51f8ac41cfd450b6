// The op contract: everything the model and the optimizer ask of a compute backend.
//
// Rules for every op
//  - Work is given to `stream` and may not have run when the call returns. Ops never allocate and never synchronise.
//    Scratch is the backend's workspace (set_workspace), which one stream uses at a time: the compute stream.
//  - T = tokens of a pass, H = hidden size, D = head_dim, Hq / Hkv = query / key-value heads, I = intermediate size,
//    V = vocabulary. Tensors are row-major and contiguous; shapes follow from the named sizes and are checked: a wrong
//    element count or dtype throws Error naming op and argument.
//  - Storage dtype S is fp32, fp16 or bf16 (fp64 in the CPU reference), the same for all tensors of a call unless said
//    otherwise. Arithmetic is fp32 (fp64 for fp64). "stat" tensors have stat_dtype(S).
//  - A result is rounded to its storage dtype once, where it is written. `accumulate` means out = round(out + result),
//    the sum being taken in the arithmetic type; otherwise out is overwritten and its old content never read.
//  - Outputs never alias inputs except where an argument says so.
//  - Deterministic: the same inputs give the same bits, at any thread count. No floating-point atomics.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "core/device.h"
#include "core/view.h"
#include "kernels/step_state.h"

namespace llama_zero {

/// output[t] = table[tokens[t]]. tokens i32 [T], each in [0, V); table [V, H]; output [T, H].
struct EmbeddingForward {
  std::int64_t tokens_count, hidden_size, vocab_size;
  ConstView tokens, table;
  View output;
};

/// grad_table[v] (+)= sum over t with tokens[t] == v of grad_output[t], t ascending. grad_table [V, H] may have another
/// floating dtype than grad_output [T, H]. Without `accumulate`, rows of tokens that do not occur become zero.
struct EmbeddingBackward {
  std::int64_t tokens_count, hidden_size, vocab_size;
  ConstView tokens, grad_output;
  View grad_table;
  bool accumulate = false;
};

/// RMSNorm (Zhang and Sennrich, NeurIPS 2019, eq. 4) with an optional fused residual addition:
///   x = residual ? round(input + residual) : input          (written to `sum`, which may alias input or residual)
///   rstd[t] = 1 / sqrt(mean(x[t]^2) + eps);  output = x * rstd * weight
/// input, residual, sum, output [T, H]; weight [H]; rstd stat [T].
struct RmsNormForward {
  std::int64_t tokens_count, hidden_size;
  double eps;
  ConstView input, residual;  ///< residual may be absent; then sum must be absent
  ConstView weight;
  View sum, output, rstd;
};

/// dx = rstd * (w*g - x * rstd^2 * mean(w*g*x));  grad_input = round(dx + grad_residual) (grad_residual absent: dx alone);
/// grad_weight (+)= sum over t of g * x * rstd, in fixed order, where g = grad_output and x the normalised input (`sum` of
/// the forward). grad_input may alias grad_residual or grad_output. grad_weight [H] may have another floating dtype.
struct RmsNormBackward {
  std::int64_t tokens_count, hidden_size;
  ConstView grad_output, input, weight, rstd, grad_residual;
  View grad_input, grad_weight;
  bool accumulate_weight = false;
};

/// output = input * weight^T. input [T, K], weight [N, K], output [T, N].
struct LinearForward {
  std::int64_t rows, in_features, out_features;
  ConstView input, weight;
  View output;
};

/// grad_input (+)= grad_output * weight. grad_output [T, N], weight [N, K], grad_input [T, K].
struct LinearBackwardInput {
  std::int64_t rows, in_features, out_features;
  ConstView grad_output, weight;
  View grad_input;
  bool accumulate = false;
};

/// grad_weight (+)= grad_output^T * input. grad_weight [N, K] may have another floating dtype (fp32 accumulators).
struct LinearBackwardWeight {
  std::int64_t rows, in_features, out_features;
  ConstView grad_output, input;
  View grad_weight;
  bool accumulate = false;
};

/// Rotary position embedding in the half-rotation layout of Hugging Face's Llama (Su et al., RoFormer, section 3.2.2), in
/// place on the query and key parts of the fused qkv [T, (Hq + 2 Hkv) * D]: for i < D/2 and the pair (x[i], x[i + D/2]),
///   x[i] <- x[i] cos - x[i + D/2] sin;  x[i + D/2] <- x[i + D/2] cos + x[i] sin.
/// `inverse` rotates back: the gradient of the forward. cos_sin stat [max_position, D/2, 2]; positions i32 [T].
struct Rope {
  std::int64_t tokens_count, query_heads, kv_heads, head_dim, max_position;
  View qkv;
  ConstView positions, cos_sin;
  bool inverse = false;
};

/// Where the documents of a pass lie: document d holds tokens [cu_seqlens[d], cu_seqlens[d + 1]). The same numbers on the
/// device (i32 [documents + 1]) and on the host. Tokens from `attended_tokens` on are padding: they form the last document,
/// attention writes zeros for them and reads nothing of them.
struct Documents {
  ConstView cu_seqlens;                          ///< device
  std::span<const std::int32_t> host_cu_seqlens; ///< documents + 1 entries, first 0, last T
  std::int64_t longest = 0;                      ///< tokens of the longest attended document
  std::int64_t attended_tokens = 0;              ///< T less the padding document
};

/// Causal self-attention inside each document (Vaswani et al. 2017, eq. 1; grouped queries: Ainslie et al. 2023): query
/// head h reads key-value head h / (Hq / Hkv). qkv [T, (Hq + 2 Hkv) * D] after RoPE: all query heads, then all key heads,
/// then all value heads of a token. output [T, Hq * D]. log_sum_exp stat [Hq, T]: of the scaled scores, for the backward.
struct AttentionForward {
  std::int64_t tokens_count, query_heads, kv_heads, head_dim;
  double scale;
  ConstView qkv;
  Documents documents;
  View output, log_sum_exp;
};

/// grad_qkv is overwritten, padding rows with zeros (Dao et al., FlashAttention, 2022, algorithm 4).
struct AttentionBackward {
  std::int64_t tokens_count, query_heads, kv_heads, head_dim;
  double scale;
  ConstView grad_output, qkv, output, log_sum_exp;
  Documents documents;
  View grad_qkv;
};

/// One new token a sequence against its cache, for generation. qkv [B, (Hq + 2 Hkv) * D] after RoPE; the op appends key
/// and value of sequence b at slot lengths[b] of key_cache and value_cache [B, capacity, Hkv * D], then attends over
/// slots 0..lengths[b]. lengths i32 [B] on device and host. output [B, Hq * D].
struct AttentionDecode {
  std::int64_t batch, query_heads, kv_heads, head_dim, capacity;
  double scale;
  ConstView qkv, lengths;
  std::span<const std::int32_t> host_lengths;
  View key_cache, value_cache, output;
};

/// After a prefill: copies keys and values of document d of the pass into slots 0 .. length(d) - 1 of sequence d's caches
/// [documents (attended), capacity, Hkv * D]. qkv after RoPE.
struct StoreKeyValue {
  std::int64_t tokens_count, query_heads, kv_heads, head_dim, capacity;
  ConstView qkv;
  Documents documents;
  View key_cache, value_cache;
};

/// output = silu(gate) * up (Shazeer, "GLU Variants Improve Transformer", 2020, eq. 5). gate_up [T, 2I]: gate, then up, of
/// each token. output [T, I].
struct SwiGluForward {
  std::int64_t tokens_count, intermediate_size;
  ConstView gate_up;
  View output;
};

/// grad_gate_up [T, 2I] may alias gate_up.
struct SwiGluBackward {
  std::int64_t tokens_count, intermediate_size;
  ConstView grad_output, gate_up;
  View grad_gate_up;
};

/// Softmax cross-entropy, forward and backward in one, in place: logits [T, V] become the gradient
/// (softmax - onehot(target)) * seed for rows with target >= 0, zeros for rows with target == kIgnoreTarget.
/// losses stat [T]: -log softmax(target), 0 for ignored rows. seed = seed_factor * (loss_scale ? *loss_scale : 1), with
/// loss_scale fp32 [1] on the device. `forward_only`: losses alone, logits keep their content. With `weights`, fp32 [T], the
/// loss of row t and its seed are multiplied by weights[t].
struct CrossEntropy {
  std::int64_t tokens_count, vocab_size;
  View logits;
  ConstView targets;  ///< i32 [T]
  View losses;
  double seed_factor = 1.0;
  ConstView loss_scale;
  bool forward_only = false;
  ConstView weights = {};
};
inline constexpr std::int32_t kIgnoreTarget = -100;

/// total fp64 [1] (+)= sum of values (stat), in fp64: groups of kLossGroup neighbours each in ascending order, then the
/// groups' sums in order (to the old total first).
struct SumLosses {
  ConstView values;
  View total;
  bool accumulate = false;
};
inline constexpr std::int64_t kLossGroup = 256;

/// destination[i] = round(source[i] * factor), between any floating dtypes; may be the same memory for equal dtypes.
struct Cast {
  ConstView source;
  View destination;
  double factor = 1.0;
};

/// destination[i] = round(destination[i] + source[i]), between any floating dtypes.
struct Add {
  ConstView source;
  View destination;
};

/// Every element of a floating view becomes `value`.
struct Fill {
  View destination;
  double value = 0.0;
};

/// The reduction of ZeRO: output[i] (+)= factor * (pieces[0][i] + pieces[1][i] + ...), summed in that order in fp32, rounded
/// once. pieces [ranks, n] contiguous; output [n] may have another floating dtype, and may alias pieces[0] or any piece.
struct ReducePieces {
  std::int64_t ranks;
  ConstView pieces;
  double factor = 1.0;
  View output;
  bool accumulate = false;
};

/// Squares of a gradient shard, by the layout rule: segments of kNormSegment elements; inside a segment, kNormLanes partial
/// sums, lane l taking elements l, l + kNormLanes, ... in order (p = fma(x, x, p) in fp32; fp64 for fp64), then
/// added pairwise (lane l += lane l + width, width = kNormLanes/2 ... 1); the sums of each kNormGroup neighbouring segments
/// are added in order in fp64, then the groups' sums in order (to the old result first).
/// result fp64 [2]: {sum of squares, number of elements that are not finite}; `accumulate` adds to it.
struct SumOfSquares {
  ConstView values;
  View result;
  bool accumulate = false;
};
inline constexpr std::int64_t kNormSegment = 4096;
inline constexpr std::int64_t kNormLanes = 256;
inline constexpr std::int64_t kNormGroup = 256;

/// The boundary's decision, on the device: adds the ranks' {sum of squares, non-finite count} in rank order, takes the root
/// and advances the state (step_state.h). per_rank fp64 [ranks, 2]; state points at one StepState, schedule at the table.
struct AdvanceStep {
  std::int64_t ranks;
  ConstView per_rank;
  View state;     ///< u8 [sizeof(StepState)]
  ConstView schedule;  ///< u8 [rows * sizeof(ScheduleRow)]
  LossScalerConfig scaler;
  double clip = 0.0;
};

// One update of a flat range by an optimizer. For all of them: gradient [n], any floating dtype, is multiplied by
// state.grad_multiplier first; learning rate, betas and bias corrections come from `state`, u8 [sizeof(StepState)]; nothing
// happens when state.skip is set. master and the optimizer's states [n] hold fp32 (fp64 in the CPU reference); weights [n]:
// the model's copy, rounded from the master (absent in fp32 training, where the master is the weight).

/// AdamW, or Adam with weight decay in the gradient (kernels/adam_update.h). exp_avg and exp_avg_sq start as zero.
struct AdamW {
  View master, exp_avg, exp_avg_sq;
  ConstView gradient;
  View weights;
  ConstView state;
  double eps = 1e-8, weight_decay = 0.0;
  bool decoupled_decay = true;  ///< false: Adam with L2 regularisation
};

/// Lion (kernels/lion_update.h). exp_avg starts as zero.
struct Lion {
  View master, exp_avg;
  ConstView gradient;
  View weights;
  ConstView state;
  double weight_decay = 0.0;
};

/// Adagrad (kernels/adagrad_update.h). sum starts as the initial accumulator value.
struct Adagrad {
  View master, sum;
  ConstView gradient;
  View weights;
  ConstView state;
  double eps = 1e-10, weight_decay = 0.0;
};

/// Stochastic gradient descent (kernels/sgd_update.h). momentum_buffer starts as zero; absent: plain descent, and momentum
/// must be 0. Nesterov's momentum takes no dampening.
struct Sgd {
  View master, momentum_buffer;
  ConstView gradient;
  View weights;
  ConstView state;
  double weight_decay = 0.0, momentum = 0.0, dampening = 0.0;
  bool nesterov = false;
};

/// A compute backend. `workspace_bytes` answers without a device: what the call needs of the workspace.
class Ops {
 public:
  virtual ~Ops() = default;

  /// Scratch for all ops of this object; u8. Must hold the largest workspace_bytes of the calls made.
  void set_workspace(View workspace) { workspace_ = workspace; }

  virtual void embedding_forward(const EmbeddingForward& args, Stream& stream) = 0;
  virtual void embedding_backward(const EmbeddingBackward& args, Stream& stream) = 0;
  virtual void rmsnorm_forward(const RmsNormForward& args, Stream& stream) = 0;
  virtual void rmsnorm_backward(const RmsNormBackward& args, Stream& stream) = 0;
  virtual void linear_forward(const LinearForward& args, Stream& stream) = 0;
  virtual void linear_backward_input(const LinearBackwardInput& args, Stream& stream) = 0;
  virtual void linear_backward_weight(const LinearBackwardWeight& args, Stream& stream) = 0;
  virtual void rope(const Rope& args, Stream& stream) = 0;
  virtual void attention_forward(const AttentionForward& args, Stream& stream) = 0;
  virtual void attention_backward(const AttentionBackward& args, Stream& stream) = 0;
  virtual void attention_decode(const AttentionDecode& args, Stream& stream) = 0;
  virtual void store_key_value(const StoreKeyValue& args, Stream& stream) = 0;
  virtual void swiglu_forward(const SwiGluForward& args, Stream& stream) = 0;
  virtual void swiglu_backward(const SwiGluBackward& args, Stream& stream) = 0;
  virtual void cross_entropy(const CrossEntropy& args, Stream& stream) = 0;
  virtual void sum_losses(const SumLosses& args, Stream& stream) = 0;
  virtual void cast(const Cast& args, Stream& stream) = 0;
  virtual void add(const Add& args, Stream& stream) = 0;
  virtual void fill(const Fill& args, Stream& stream) = 0;
  virtual void reduce_pieces(const ReducePieces& args, Stream& stream) = 0;
  virtual void sum_of_squares(const SumOfSquares& args, Stream& stream) = 0;
  virtual void advance_step(const AdvanceStep& args, Stream& stream) = 0;
  virtual void adamw(const AdamW& args, Stream& stream) = 0;
  virtual void lion(const Lion& args, Stream& stream) = 0;
  virtual void adagrad(const Adagrad& args, Stream& stream) = 0;
  virtual void sgd(const Sgd& args, Stream& stream) = 0;

  virtual std::size_t workspace_bytes(const EmbeddingBackward& args) const = 0;
  virtual std::size_t workspace_bytes(const RmsNormBackward& args) const = 0;
  virtual std::size_t workspace_bytes(const LinearForward& args) const = 0;
  virtual std::size_t workspace_bytes(const LinearBackwardInput& args) const = 0;
  virtual std::size_t workspace_bytes(const LinearBackwardWeight& args) const = 0;
  virtual std::size_t workspace_bytes(const AttentionForward& args) const = 0;
  virtual std::size_t workspace_bytes(const AttentionBackward& args) const = 0;
  virtual std::size_t workspace_bytes(const AttentionDecode& args) const = 0;
  virtual std::size_t workspace_bytes(const SumOfSquares& args) const = 0;

 protected:
  View workspace_;
};

/// The CPU reference and backend: storage fp32, fp16, bf16 with fp32 arithmetic, and fp64 with fp64 arithmetic.
/// `threads` <= 0 means all cores of the process's affinity mask.
std::unique_ptr<Ops> make_cpu_ops(int threads);

}  // namespace llama_zero
