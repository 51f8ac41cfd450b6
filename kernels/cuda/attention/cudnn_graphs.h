// cuDNN's fused attention as graphs: built once for a shape, executed on the buffers of a call. Its implementation is
// the one file that sees the cuDNN frontend (a minute and a half to compile); built without the frontend's headers,
// nothing is usable. The library is opened at run time: a machine without it starts all the same.
#pragma once

#include <cuda_runtime_api.h>

#include <compare>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "core/dtype.h"
#include "kernels/cuda/cuda_ops.h"

namespace llama_zero::cuda {

/// What a graph is made for. Lengths and places of documents are read from the device at run time.
struct CudnnShape {
  bool backward;
  DType storage;                           ///< fp16 or bf16
  std::int64_t documents, longest;         ///< declared: slots, and tokens of the longest
  std::int64_t query_heads, kv_heads;      ///< of this call
  std::int64_t head_dim;                   ///< a multiple of 8
  std::int64_t qkv_stride, output_stride;  ///< elements from token to token of a head; of the statistics: query_heads
  double scale;
  auto operator<=>(const CudnnShape&) const = default;
};

/// Device addresses. `lengths` [documents]; offsets [documents + 1], in elements of the tensor they are for. Query, key
/// and value share theirs, as do their gradients; output and its gradient share theirs. Slots without a document have
/// length 0.
struct CudnnBuffers {
  const void *query, *key, *value;
  const void* output;  ///< written by the forward
  float* statistics;   ///< [tokens, query_heads], natural logarithm; written by the forward
  const void* grad_output;
  void *grad_query, *grad_key, *grad_value;
  const std::int32_t* lengths;
  const std::int64_t *qkv_offsets, *output_offsets, *statistics_offsets;
};

class CudnnGraphs {
 public:
  virtual ~CudnnGraphs() = default;

  /// Bytes of scratch that the shape's graph needs; builds it when it is new (0.05 to 2 s). Throws Error, saying why,
  /// when the library has no kernel for it.
  virtual std::size_t scratch_bytes(const CudnnShape& shape) = 0;
  /// Gives the work to `stream`. Deterministic.
  virtual void run(const CudnnShape& shape, const CudnnBuffers& buffers, void* scratch, cudaStream_t stream) = 0;
};

/// Throws Error unless cudnn_status().usable.
std::unique_ptr<CudnnGraphs> make_cudnn_graphs();

}  // namespace llama_zero::cuda
