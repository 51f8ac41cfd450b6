// Parameters, multiply-accumulates (MACs) and floating-point operations (flops) of one forward, module by module, from
// shapes alone. The modules are those of Hugging Face's Llama.
//
// With T tokens, H hidden, I intermediate, V vocabulary, D head_dim, Hq / Hkv heads and A = sum over documents of
// L * (L + 1) / 2 pairs of a token with itself and those before it:
//   linear [K -> N]   T*K*N MACs, 2 flops each
//   attention         2*A*Hq*D MACs (scores, weighted values), 2 flops each; pairs across documents and those that the
//                     causal mask hides are never computed and not counted (DeepSpeed counts L * L)
//   rotary embedding  3*T*(Hq+Hkv)*D flops      RMSNorm  4*T*H      SiLU and its product  2*T*I      residual sums
//   2*T*H
// Embedding, softmax and loss count as nothing, as in DeepSpeed's profiler. MACs of matrix products: Kaplan et al.,
// "Scaling Laws for Neural Language Models", 2020, table 1.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/pass.h"
#include "model/config.h"

namespace llama_zero {

/// What the passes of one step on one rank put in.
struct ForwardShape {
  std::int64_t tokens = 0;       ///< T, padding included: it is computed
  double attention_pairs = 0.0;  ///< A, without the padding document
};
ForwardShape shape_of(std::span<const Pass> passes);

struct ModuleProfile {
  std::string name;                              ///< in its parent: "layers", "0"; the root's is empty
  std::string class_name;                        ///< "LlamaDecoderLayer"
  std::string sizes;                             ///< "in_features=64, out_features=192"; may be empty
  double params = 0.0, macs = 0.0, flops = 0.0;  ///< children included
  std::optional<double> forward_ms;  ///< where it was measured: embedding, blocks, head, and what holds them
  std::vector<ModuleProfile> children;
};

/// `unit_forward_ms` is PassTimes::unit_forward: embedding, blocks, head. Empty: no times.
ModuleProfile profile_model(const LlamaConfig& config, const ForwardShape& shape,
                            std::span<const double> unit_forward_ms);

}  // namespace llama_zero
