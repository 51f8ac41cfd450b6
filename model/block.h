// One transformer block as lists of ops (Touvron et al., "Llama 2", 2023, section 2.2): no allocation, no
// communication, no branch on how the run is distributed.
//
// Blocks hand over a pair: the residual stream and the last branch's output. The next norm forms their sum and
// normalises it in one op; the gradient of the sum is the gradient of both.
#pragma once

#include <cstdint>

#include "core/device.h"
#include "kernels/ops.h"
#include "model/activations.h"
#include "model/config.h"
#include "model/param_table.h"

namespace llama_zero {

/// A block's weights (or gradients), views into its unit.
template <typename ViewType>
struct BlockParams {
  ViewType input_norm;           ///< [H]
  ViewType qkv;                  ///< [(Hq + 2 Hkv) * D, H]
  ViewType attention_out;        ///< [H, Hq * D]
  ViewType post_attention_norm;  ///< [H]
  ViewType gate_up;              ///< [2 I, H]
  ViewType down;                 ///< [H, I]
};
using BlockWeights = BlockParams<ConstView>;
using BlockWeightGradients = BlockParams<View>;

/// Slices of `values`, the memory of `unit`. Throws Error when the view is too small.
BlockWeights slice_block(const ParamTable& table, int unit, ConstView values);
BlockWeightGradients slice_block(const ParamTable& table, int unit, View values);

/// One parameter's slice of its unit's memory.
ConstView slice_param(const ParamTable& table, int unit, const char* short_name, ConstView values);
View slice_param(const ParamTable& table, int unit, const char* short_name, View values);

/// What all blocks of a pass share.
struct BlockContext {
  const LlamaConfig& config;
  Ops& ops;
  Stream& stream;
  std::int64_t tokens = 0;
  ConstView positions;  ///< i32 [T]
  ConstView cos_sin;    ///< stat [max_positions, D/2, 2]
  std::int64_t max_positions = 0;
  Documents documents;

  double attention_scale() const;
};

/// The pair that blocks hand over; `branch` is absent at the first block.
struct ResidualPair {
  ConstView stream;  ///< [T, H]
  ConstView branch;  ///< [T, H]
};

/// Fills `acts`; writes the feed-forward output to `branch`. `input.branch` may be the same memory as `branch`. With an
/// absent input.branch, input.stream must be acts.input_sum itself.
ResidualPair block_forward(const BlockContext& context, const BlockWeights& weights, const ResidualPair& input,
                           const BlockActivations& acts, View branch);

/// Computes again what `mode` did not keep, from what it kept; the same ops on the same inputs, so the same bits.
void block_recompute(const BlockContext& context, const BlockWeights& weights, ActivationCheckpointing mode,
                     const BlockActivations& acts, View branch);

/// `gradient` [T, H]: of the block's output pair on entry, of its input pair on return. Weight gradients are
/// overwritten, or added to when `accumulate`. acts.gate_up is used up.
void block_backward(const BlockContext& context, const BlockWeights& weights, const BlockActivations& acts,
                    const BlockGradients& scratch, const BlockWeightGradients& grads, bool accumulate, View gradient);

/// Keys and values of one layer, a row of slots for each sequence: [B, capacity, Hkv * D] each.
struct LayerCache {
  View keys, values;
  std::int64_t capacity = 0;
};

/// block_forward for a prompt whose keys and values stay in `cache`, one sequence a document.
ResidualPair block_prefill(const BlockContext& context, const BlockWeights& weights, const ResidualPair& input,
                           const BlockActivations& acts, View branch, const LayerCache& cache);

/// block_forward for one new token of each of `context.tokens` sequences. lengths i32 [B]: tokens in the cache already.
ResidualPair block_decode(const BlockContext& context, const BlockWeights& weights, const ResidualPair& input,
                          const BlockActivations& acts, View branch, const LayerCache& cache, ConstView lengths,
                          std::span<const std::int32_t> host_lengths);

}  // namespace llama_zero
