// Choosing the next token from its logits.
#pragma once

#include <cstdint>
#include <span>

namespace llama_zero {

struct SamplingOptions {
  double temperature = 0.0;  ///< 0: the most likely token (the lowest id among equals); else logits are divided by it
  double top_p = 1.0;        ///< nucleus: the smallest set of likeliest tokens whose probabilities reach top_p
  std::uint64_t seed = 0;

  /// Throws Error for a negative temperature or a top_p outside (0, 1].
  void validate() const;
};

/// A token id in [0, logits.size()). Random choices depend on (seed, sequence, step) and the logits alone. Nucleus
/// sampling: Holtzman et al., "The Curious Case of Neural Text Degeneration", ICLR 2020, section 3.1. Throws Error when
/// the largest logit is not finite.
std::int32_t choose_token(std::span<const float> logits, const SamplingOptions& options, std::uint64_t sequence,
                          std::uint64_t step);

}  // namespace llama_zero
