// The CUDA backend. No CUDA header is needed to use it.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "core/device.h"
#include "kernels/ops.h"

namespace llama_zero {

/// How attention is computed. kAuto: what docs/performance.md measured as the fastest for the call, by a fixed rule.
/// kFlash: the hand-written tensor-core kernels (plain ones where they don't apply: fp32). kCudnn: NVIDIA's library;
/// Error where it is missing or does not take the shape. kPlain: fp32 kernels at any shape.
enum class CudaAttention { kAuto, kFlash, kCudnn, kPlain };

/// Whether kCudnn can serve on this machine; looks for the library, needs no GPU.
struct CudnnStatus {
  bool usable = false;
  std::string text;  ///< "cuDNN 9.19.0", or why not, in a clause: "built without the cuDNN frontend headers"
};
CudnnStatus cudnn_status();

/// cuBLASLt algorithms by product (shape, dtypes, beta, alignment), of a tune table (kernels/cuda/tune.h): valid for
/// one GPU model and library version. The words are the library's own.
using CudaGemmAlgorithms = std::map<std::string, std::array<std::uint64_t, 8>>;

struct CudaOpsOptions {
  CudaAttention attention = CudaAttention::kAuto;
  CudaGemmAlgorithms gemm_algorithms;  ///< products without an entry get cuBLASLt's first candidate
};

/// Ops on `device` (made by make_cuda_device), for streams of that device. Storage fp32, fp16, bf16.
/// What the CPU backend checks in tensor memory cannot be checked here without a synchronisation: a token outside the
/// vocabulary or a position outside the table gives NaN, and a target outside it a NaN loss.
/// linear_backward_* with `accumulate` into 16 bits: cuBLASLt's kernels (13.0 on an H100: every one tried) round the
/// product to 16 bits before they add the old content, where the contract rounds the sum alone; into fp32 the sum is
/// exact to fp32.
std::unique_ptr<Ops> make_cuda_ops(const Device& device, const CudaOpsOptions& options = {});

/// Answers workspace_bytes as make_cuda_ops's object would on any GPU; needs none. Its ops throw Error.
std::unique_ptr<Ops> make_cuda_sizing_ops(const CudaOpsOptions& options = {});

/// From now on `algorithms` decides the products that `ops` (of make_cuda_ops) runs; throws Error for another backend.
void use_gemm_algorithms(Ops& ops, const CudaGemmAlgorithms& algorithms);

/// The algorithm of every product that `ops` (of make_cuda_ops) has run; throws Error for another backend's.
CudaGemmAlgorithms gemm_algorithms(const Ops& ops);

}  // namespace llama_zero
