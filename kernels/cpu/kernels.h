// The CPU kernels, one function an op: what CpuOps calls after the arguments are checked. Contracts: kernels/ops.h.
#pragma once

#include <cstddef>

#include "kernels/cpu/context.h"
#include "kernels/ops.h"

namespace llama_zero::cpu {

void run(const EmbeddingForward& args, const Context& context);
void run(const EmbeddingBackward& args, const Context& context);
void run(const RmsNormForward& args, const Context& context);
void run(const RmsNormBackward& args, const Context& context);
void run(const LinearForward& args, const Context& context);
void run(const LinearBackwardInput& args, const Context& context);
void run(const LinearBackwardWeight& args, const Context& context);
void run(const Rope& args, const Context& context);
void run(const AttentionForward& args, const Context& context);
void run(const AttentionBackward& args, const Context& context);
void run(const AttentionDecode& args, const Context& context);
void run(const StoreKeyValue& args, const Context& context);
void run(const SwiGluForward& args, const Context& context);
void run(const SwiGluBackward& args, const Context& context);
void run(const CrossEntropy& args, const Context& context);
void run(const SumLosses& args, const Context& context);
void run(const Cast& args, const Context& context);
void run(const Add& args, const Context& context);
void run(const Fill& args, const Context& context);
void run(const ReducePieces& args, const Context& context);
void run(const SumOfSquares& args, const Context& context);
void run(const AdvanceStep& args, const Context& context);
void run(const AdamW& args, const Context& context);
void run(const Lion& args, const Context& context);
void run(const Adagrad& args, const Context& context);
void run(const Sgd& args, const Context& context);

/// Bytes of workspace that run() needs with `threads` threads.
std::size_t workspace_bytes(const EmbeddingBackward& args);
std::size_t workspace_bytes(const RmsNormBackward& args);
std::size_t workspace_bytes(const LinearForward& args, int threads);
std::size_t workspace_bytes(const LinearBackwardInput& args, int threads);
std::size_t workspace_bytes(const LinearBackwardWeight& args, int threads);
std::size_t workspace_bytes(const AttentionForward& args, int threads);
std::size_t workspace_bytes(const AttentionBackward& args, int threads);
std::size_t workspace_bytes(const AttentionDecode& args, int threads);

}  // namespace llama_zero::cpu
