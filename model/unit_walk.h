// The forward's walk over the units: embedding, then every block, each leased while it works and the next one
// prefetched.
#pragma once

#include <cstdint>

#include "model/activations.h"
#include "model/block.h"
#include "model/param_access.h"
#include "model/param_table.h"
#include "model/unit_lease.h"

namespace llama_zero {

/// Embeds `tokens` (i32 [T]) into the first layer's input_sum, then runs block(layer, weights, input pair), which
/// returns the output pair, for each layer; returns the last pair.
template <typename Block>
ResidualPair walk_forward(const ParamTable& table, const BlockContext& context, ConstView tokens, ParamSource& params,
                          const ActivationSet& acts, const Block& block) {
  const LlamaConfig& config = table.config();
  ResidualPair pair{acts.layer(0).input_sum, ConstView{}};
  {
    const UnitLease lease(params, table.embedding_unit(), context.stream);
    params.prefetch(table.block_unit(0));
    const ConstView embeddings = slice_param(table, lease.unit(), "embed_tokens", lease.weights());
    context.ops.embedding_forward(
        {context.tokens, config.hidden_size, config.vocab_size, tokens, embeddings, acts.layer(0).input_sum},
        context.stream);
  }
  for (std::int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    const UnitLease lease(params, table.block_unit(layer), context.stream);
    const int next = lease.unit() + 1;
    params.prefetch(next);
    if (next == table.head_unit() && config.tie_word_embeddings) params.prefetch(table.embedding_unit());
    pair = block(layer, slice_block(table, lease.unit(), lease.weights()), pair);
  }
  return pair;
}

}  // namespace llama_zero
