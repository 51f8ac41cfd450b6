// One pass: what a rank runs forward and backward at once. Whole samples back to back, no batch dimension, no padded row.
#pragma once

#include <cstdint>
#include <vector>

namespace llama_zero {

/// Host arrays of one pass of T tokens. Document d holds tokens [cu_seqlens[d], cu_seqlens[d + 1]); positions restart at each.
/// When attended_tokens < T the last document is padding (token 0, all targets ignored) and attention skips it.
struct Pass {
  std::vector<std::int32_t> tokens;      ///< [T]
  std::vector<std::int32_t> targets;     ///< [T]; the next token of the document, or kIgnoreTarget (-100) where masked
  std::vector<std::int32_t> positions;   ///< [T]
  std::vector<float> loss_weights;       ///< [T], what each target's loss counts; empty: 1 each
  std::vector<std::int32_t> cu_seqlens;  ///< [documents + 1], first 0, last T
  std::int64_t attended_tokens = 0;      ///< T less the padding document
  std::int64_t longest = 0;              ///< tokens of the longest attended document
  std::int64_t loss_tokens = 0;          ///< targets that count
  std::int64_t rows = 0;                 ///< samples in the pass

  std::int64_t tokens_count() const { return static_cast<std::int64_t>(tokens.size()); }
};

}  // namespace llama_zero
