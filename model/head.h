// The head: final norm, logits, loss, and their backward. Logits exist for a chunk of tokens at a time, never all at
// once.
#pragma once

#include <cstdint>
#include <optional>

#include "core/arena.h"
#include "model/block.h"
#include "model/transformer.h"
#include "model/unit_lease.h"

namespace llama_zero {

struct HeadWeights {
  ConstView final_norm;  ///< [H]
  ConstView lm_head;     ///< [V, H]; the embedding's table when tied
};

/// Leases the head's unit and, when embeddings are tied, the embedding's.
class HeadLease {
 public:
  HeadLease(const ParamTable& table, ParamSource& params, Stream& stream);
  const HeadWeights& weights() const { return weights_; }

 private:
  UnitLease head_;
  std::optional<UnitLease> embedding_;
  HeadWeights weights_;
};

struct HeadGradients {
  View final_norm, lm_head;
  bool accumulate_norm = false, accumulate_lm_head = false;
};

/// What the logits are compared with.
struct LossTargets {
  ConstView tokens;   ///< i32 [T]
  ConstView weights;  ///< fp32 [T], or absent: 1 each
};

/// Adds the weighted sum of losses of the pass to `loss_sum` (fp64 [1]). Scratch comes from `arena`.
void head_loss(const BlockContext& context, const HeadWeights& weights, const ResidualPair& input,
               const LossTargets& targets, std::int64_t logits_chunk, View loss_sum, Arena& arena);

/// head_loss, and the gradient of the input pair to `gradient` [T, H]. `branch` is the memory of input.branch, which
/// the sum overwrites. The head's weight gradient is summed over the chunks in the statistics' dtype and rounded once.
void head_loss_backward(const BlockContext& context, const HeadWeights& weights, const ResidualPair& input, View branch,
                        const LossTargets& targets, std::int64_t logits_chunk, const BackwardSeed& seed,
                        const HeadGradients& grads, View gradient, View loss_sum, Arena& arena);

/// Logits of all of the context's tokens to `logits` [T, V].
void head_logits(const BlockContext& context, const HeadWeights& weights, const ResidualPair& input, View logits,
                 Arena& arena);

}  // namespace llama_zero
