#include "model/head.h"

#include <algorithm>

namespace llama_zero {
namespace {

/// The final norm's outputs, in the arena scope of the caller.
struct NormedHidden {
  View output;  ///< [T, H]
  View rstd;    ///< stat [T]
};

NormedHidden final_norm(const BlockContext& c, const HeadWeights& w, const ResidualPair& input, View sum,
                        Arena& arena) {
  const DType dtype = input.stream.dtype();
  const std::int64_t hidden = c.config.hidden_size;
  const NormedHidden normed{arena.allocate(kActivationScratchLabel, dtype, c.tokens * hidden),
                            arena.allocate(kActivationScratchLabel, stat_dtype(dtype), c.tokens)};
  c.ops.rmsnorm_forward({c.tokens, hidden, c.config.rms_norm_eps, input.branch, input.stream, w.final_norm, sum,
                         normed.output, normed.rstd},
                        c.stream);
  return normed;
}

/// Rows [begin, begin + count) of a matrix with `columns` columns.
template <typename ViewType>
ViewType rows_of(const ViewType& matrix, std::int64_t begin, std::int64_t count, std::int64_t columns) {
  return matrix.slice(begin * columns, count * columns);
}

ConstView rows_of_optional(const ConstView& values, std::int64_t begin, std::int64_t count) {
  return values ? values.slice(begin, count) : ConstView{};
}

/// Calls body(first token, tokens) for each chunk of the pass.
template <typename Body>
void for_each_chunk(std::int64_t tokens, std::int64_t chunk, const Body& body) {
  for (std::int64_t begin = 0; begin < tokens; begin += chunk) body(begin, std::min(chunk, tokens - begin));
}

/// Where the chunks' weight gradients are summed: the gradient itself when there is one chunk, else an fp32 scratch.
class HeadWeightGradient {
 public:
  HeadWeightGradient(const HeadGradients& grads, DType sum_dtype, bool several_chunks, Arena& arena)
      : result_(grads.lm_head), add_to_result_(grads.accumulate_lm_head), several_(several_chunks) {
    if (several_) sum_ = arena.allocate("head gradient", sum_dtype, result_.numel());
  }
  View target() const { return several_ ? sum_ : result_; }
  bool accumulate(bool first_chunk) const { return several_ ? !first_chunk : add_to_result_; }

  void finish(const BlockContext& c) const {
    if (!several_) return;
    if (add_to_result_) {
      c.ops.add({sum_, result_}, c.stream);
    } else {
      c.ops.cast({sum_, result_, 1.0}, c.stream);
    }
  }

 private:
  View result_, sum_;
  bool add_to_result_, several_;
};

}  // namespace

HeadLease::HeadLease(const ParamTable& table, ParamSource& params, Stream& stream)
    : head_(params, table.head_unit(), stream) {
  weights_.final_norm = slice_param(table, table.head_unit(), "final_norm", head_.weights());
  if (table.config().tie_word_embeddings) {
    embedding_.emplace(params, table.embedding_unit(), stream);
    weights_.lm_head = slice_param(table, table.embedding_unit(), "embed_tokens", embedding_->weights());
  } else {
    weights_.lm_head = slice_param(table, table.head_unit(), "lm_head", head_.weights());
  }
}

void head_loss(const BlockContext& c, const HeadWeights& w, const ResidualPair& input, const LossTargets& targets,
               std::int64_t logits_chunk, View loss_sum, Arena& arena) {
  const std::int64_t hidden = c.config.hidden_size;
  const std::int64_t vocab = c.config.vocab_size;
  const DType dtype = input.stream.dtype();
  const std::int64_t chunk = std::min(logits_chunk, c.tokens);
  const Arena::Scope scope(arena);
  const View sum = arena.allocate(kActivationScratchLabel, dtype, c.tokens * hidden);
  const NormedHidden normed = final_norm(c, w, input, sum, arena);
  const View losses = arena.allocate(kActivationScratchLabel, stat_dtype(dtype), c.tokens);
  const View chunk_logits = arena.allocate("logits", dtype, chunk * vocab);

  for_each_chunk(c.tokens, chunk, [&](std::int64_t begin, std::int64_t count) {
    const View logits = rows_of(chunk_logits, 0, count, vocab);
    c.ops.linear_forward({count, hidden, vocab, rows_of(normed.output, begin, count, hidden), w.lm_head, logits},
                         c.stream);
    c.ops.cross_entropy({count, vocab, logits, targets.tokens.slice(begin, count), losses.slice(begin, count), 1.0,
                         ConstView{}, true, rows_of_optional(targets.weights, begin, count)},
                        c.stream);
  });
  c.ops.sum_losses({losses, loss_sum, true}, c.stream);
}

void head_loss_backward(const BlockContext& c, const HeadWeights& w, const ResidualPair& input, View branch,
                        const LossTargets& targets, std::int64_t logits_chunk, const BackwardSeed& seed,
                        const HeadGradients& grads, View gradient, View loss_sum, Arena& arena) {
  const std::int64_t hidden = c.config.hidden_size;
  const std::int64_t vocab = c.config.vocab_size;
  const DType dtype = input.stream.dtype();
  const std::int64_t chunk = std::min(logits_chunk, c.tokens);
  const Arena::Scope scope(arena);
  const NormedHidden normed = final_norm(c, w, input, branch, arena);
  const View losses = arena.allocate(kActivationScratchLabel, stat_dtype(dtype), c.tokens);
  const View chunk_logits = arena.allocate("logits", dtype, chunk * vocab);
  const HeadWeightGradient weight_gradient(grads, stat_dtype(dtype), chunk < c.tokens, arena);

  for_each_chunk(c.tokens, chunk, [&](std::int64_t begin, std::int64_t count) {
    const View logits = rows_of(chunk_logits, 0, count, vocab);
    const View normed_rows = rows_of(normed.output, begin, count, hidden);
    c.ops.linear_forward({count, hidden, vocab, normed_rows, w.lm_head, logits}, c.stream);
    // In place: from here on `logits` holds the gradient of the logits.
    c.ops.cross_entropy({count, vocab, logits, targets.tokens.slice(begin, count), losses.slice(begin, count),
                         seed.factor, seed.loss_scale, false, rows_of_optional(targets.weights, begin, count)},
                        c.stream);
    c.ops.linear_backward_weight(
        {count, hidden, vocab, logits, normed_rows, weight_gradient.target(), weight_gradient.accumulate(begin == 0)},
        c.stream);
    c.ops.linear_backward_input(
        {count, hidden, vocab, logits, w.lm_head, rows_of(gradient, begin, count, hidden), false}, c.stream);
  });
  weight_gradient.finish(c);
  c.ops.rmsnorm_backward({c.tokens, hidden, gradient, branch, w.final_norm, normed.rstd, ConstView{}, gradient,
                          grads.final_norm, grads.accumulate_norm},
                         c.stream);
  c.ops.sum_losses({losses, loss_sum, true}, c.stream);
}

void head_logits(const BlockContext& c, const HeadWeights& w, const ResidualPair& input, View logits, Arena& arena) {
  const std::int64_t hidden = c.config.hidden_size;
  const Arena::Scope scope(arena);
  const View sum = arena.allocate(kActivationScratchLabel, input.stream.dtype(), c.tokens * hidden);
  const NormedHidden normed = final_norm(c, w, input, sum, arena);
  c.ops.linear_forward({c.tokens, hidden, c.config.vocab_size, normed.output, w.lm_head, logits}, c.stream);
}

}  // namespace llama_zero
