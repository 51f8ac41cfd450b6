// The rotary embedding's table of cosines and sines.
#pragma once

#include <cstdint>
#include <vector>

#include "core/arena.h"
#include "model/config.h"

namespace llama_zero {

/// The angle of pair i < D/2 per position: theta^(-2i/D) (Su et al., "RoFormer", section 3.2.2), stretched as
/// config.rope_scaling says. With f such a frequency and w = 2 pi / f its wavelength in tokens:
///   linear  f / factor (Chen et al., "Extending Context Window of Large Language Models via Positional
///           Interpolation", 2023, section 2.3)
///   llama3  f where w < original / high_freq_factor; f / factor where w > original / low_freq_factor; between them
///           s f + (1 - s) f / factor, s = (original / w - low) / (high - low) (Llama 3 models' reference settings)
///
/// Every step is rounded to fp32, and so are position * frequency and its cosine: that is what the models were trained
/// with (Meta's and Hugging Face's code compute it so), and at long contexts it shows. An angle near 4096 has a step
/// of 2.4e-4 in fp32, so exact cosines would differ from the trained ones by up to 1e-4.
std::vector<float> rope_frequencies(const LlamaConfig& config);

/// cos and sin of (position * frequency), position < max_positions: stat [max_positions, D/2, 2], from `arena`, label
/// "rope table". Waits for its copy.
View make_rope_table(const LlamaConfig& config, DType dtype, std::int64_t max_positions, Arena& arena);

}  // namespace llama_zero
