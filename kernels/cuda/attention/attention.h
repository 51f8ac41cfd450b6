// The seam between the CUDA backend and its ways to compute attention.
//
// Contracts of the ops: kernels/ops.h. Every implementation is deterministic and writes zeros (output, log_sum_exp,
// grad_qkv) for padding tokens. The caller has checked the arguments (kernels/check.h) and made the device current.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/launch.h"
#include "kernels/ops.h"

namespace llama_zero::cuda {

/// What decides whether an implementation can take a call.
struct AttentionShape {
  DType storage;
  std::int64_t query_heads, kv_heads, head_dim;
};

class Attention {
 public:
  virtual ~Attention() = default;

  /// Decided by the shape alone, so that planning, forward and backward choose alike.
  virtual bool supports(const AttentionShape& shape) const = 0;

  /// Scratch that the call needs at the start of the workspace. Answers without a GPU.
  virtual std::size_t workspace_bytes(const AttentionForward& args) const = 0;
  virtual std::size_t workspace_bytes(const AttentionBackward& args) const = 0;

  /// Gives the work to launch.stream; scratch is launch.workspace, which holds at least workspace_bytes(args).
  virtual void forward(const AttentionForward& args, const Launch& launch) = 0;
  virtual void backward(const AttentionBackward& args, const Launch& launch) = 0;
};

/// What serves `choice`, the preferred one first; the last supports everything that kernels/check.h lets pass. Throws
/// Error for kCudnn where cudnn_status() is not usable.
std::vector<std::unique_ptr<Attention>> attention_implementations(CudaAttention choice);

/// fp32 arithmetic on the CUDA cores, tiles in shared memory; any dtype and head_dim.
std::unique_ptr<Attention> make_plain_attention();

}  // namespace llama_zero::cuda
