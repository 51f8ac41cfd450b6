// Argument checks of the op contract: element counts and dtypes, the same for every backend and for the planner.
//
// They read sizes, dtypes and host arrays only, never tensor memory, so they hold on any device, the null device
// included.
#pragma once

#include "kernels/ops.h"

namespace llama_zero {

/// Each throws Error "<op>: <argument> ..." for the first argument that breaks the contract in ops.h.
void check(const EmbeddingForward& args);
void check(const EmbeddingBackward& args);
void check(const RmsNormForward& args);
void check(const RmsNormBackward& args);
void check(const LinearForward& args);
void check(const LinearBackwardInput& args);
void check(const LinearBackwardWeight& args);
void check(const Rope& args);
void check(const AttentionForward& args);
void check(const AttentionBackward& args);
void check(const AttentionDecode& args);
void check(const StoreKeyValue& args);
void check(const SwiGluForward& args);
void check(const SwiGluBackward& args);
void check(const CrossEntropy& args);
void check(const SumLosses& args);
void check(const Cast& args);
void check(const Add& args);
void check(const Fill& args);
void check(const ReducePieces& args);
void check(const SumOfSquares& args);
void check(const AdvanceStep& args);
void check(const AdamW& args);
void check(const Lion& args);
void check(const Adagrad& args);
void check(const Sgd& args);

/// Largest head_dim that rope and attention take; it must be a multiple of 8.
inline constexpr std::int64_t kMaxHeadDim = 256;

}  // namespace llama_zero
