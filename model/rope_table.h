// The rotary embedding's table of cosines and sines.
#pragma once

#include <cstdint>
#include <string_view>

#include "core/arena.h"
#include "model/config.h"

namespace llama_zero {

/// cos and sin of p * theta^(-2i/D) (Su et al., "RoFormer", section 3.2.2) for p < max_positions and i < D/2, computed
/// in fp64 on the host and rounded once: stat [max_positions, D/2, 2], from `arena`, label "rope table". Waits for its
/// copy.
View make_rope_table(const LlamaConfig& config, DType dtype, std::int64_t max_positions, Arena& arena);

}  // namespace llama_zero
