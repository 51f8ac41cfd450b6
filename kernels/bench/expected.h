// What results must be, recomputed in fp64 one element at a time by the formulas of kernels/ops.h: for shapes that the
// CPU reference would take too long to run whole.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/bench/case.h"

namespace llama_zero::bench {

/// At least kSamples elements of a case's results, spread over each of them, first and last included.
inline constexpr std::int64_t kSamples = 4096;

// Each reads the arguments' tensors from the backend, so it must be called before the op overwrites any of them.
// Results are in the order in which the op table names them.
Expectation expected(Backend& backend, const EmbeddingForward& args);
Expectation expected(Backend& backend, const EmbeddingBackward& args);
Expectation expected(Backend& backend, const RmsNormForward& args);
Expectation expected(Backend& backend, const RmsNormBackward& args);
Expectation expected(Backend& backend, const LinearForward& args);
Expectation expected(Backend& backend, const LinearBackwardInput& args);
Expectation expected(Backend& backend, const LinearBackwardWeight& args);
Expectation expected(Backend& backend, const Rope& args);
Expectation expected(Backend& backend, const AttentionForward& args);
Expectation expected(Backend& backend, const AttentionBackward& args);
Expectation expected(Backend& backend, const AttentionDecode& args);
Expectation expected(Backend& backend, const SwiGluForward& args);
Expectation expected(Backend& backend, const SwiGluBackward& args);
Expectation expected(Backend& backend, const CrossEntropy& args);
Expectation expected(Backend& backend, const Cast& args);
Expectation expected(Backend& backend, const Add& args);
Expectation expected(Backend& backend, const Fill& args);
Expectation expected(Backend& backend, const ReducePieces& args);
Expectation expected(Backend& backend, const SumOfSquares& args);
Expectation expected(Backend& backend, const SumLosses& args);

}  // namespace llama_zero::bench
