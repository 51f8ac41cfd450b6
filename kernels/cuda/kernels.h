// The CUDA kernels, one launcher an op: what CudaOps calls after the arguments are checked. Contracts: kernels/ops.h.
#pragma once

#include <cstddef>

#include "kernels/cuda/launch.h"
#include "kernels/ops.h"

namespace llama_zero::cuda {

void run(const EmbeddingForward& args, const Launch& launch);
void run(const EmbeddingBackward& args, const Launch& launch);
void run(const RmsNormForward& args, const Launch& launch);
void run(const RmsNormBackward& args, const Launch& launch);
void run(const Rope& args, const Launch& launch);
void run(const AttentionDecode& args, const Launch& launch);
void run(const StoreKeyValue& args, const Launch& launch);
void run(const SwiGluForward& args, const Launch& launch);
void run(const SwiGluBackward& args, const Launch& launch);
void run(const CrossEntropy& args, const Launch& launch);
void run(const SumLosses& args, const Launch& launch);
void run(const Cast& args, const Launch& launch);
void run(const Add& args, const Launch& launch);
void run(const Fill& args, const Launch& launch);
void run(const ReducePieces& args, const Launch& launch);
void run(const SumOfSquares& args, const Launch& launch);
void run(const AdvanceStep& args, const Launch& launch);
void run(const AdamW& args, const Launch& launch);
void run(const Lion& args, const Launch& launch);
void run(const Adagrad& args, const Launch& launch);
void run(const Sgd& args, const Launch& launch);

/// Bytes of workspace that run() needs, on any GPU.
std::size_t workspace_bytes(const EmbeddingBackward& args);
std::size_t workspace_bytes(const RmsNormBackward& args);
std::size_t workspace_bytes(const SumOfSquares& args);

}  // namespace llama_zero::cuda
