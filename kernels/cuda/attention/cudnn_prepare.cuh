// What cuDNN reads from the device besides tensors: lengths and offsets of the documents of its calls, and the softmax
// statistics in its order of elements.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <vector>

#include "kernels/cuda/attention/cudnn_calls.h"

namespace llama_zero::cuda {

/// For the groups of documents one after another: slots + 1 entries each.
struct SlotArrays {
  std::int32_t* lengths;
  std::int64_t *qkv, *output, *statistics;  ///< offsets in elements
};

/// Elements from a token to the next.
struct SlotStrides {
  std::int64_t qkv, output, statistics;
};

/// Finds the documents of each group in cu_seqlens, in its order; slots beyond them get length 0 at the end.
void prepare_slots(const std::int32_t* cu_seqlens, int documents, const std::vector<CudnnDocuments>& groups,
                   const SlotStrides& strides, const SlotArrays& arrays, cudaStream_t stream);

/// by_head [heads, tokens] from by_token [attended, heads]; zeros for the tokens from `attended` on.
void statistics_by_head(const float* by_token, std::int64_t attended, std::int64_t tokens, std::int64_t heads,
                        float* by_head, cudaStream_t stream);

/// The other way round, for groups of heads: group g is a piece [tokens, heads_of_group] at g * heads_of_group *
/// tokens.
void statistics_by_token(const float* by_head, std::int64_t attended, std::int64_t tokens, std::int64_t heads,
                         std::int64_t heads_of_group, float* by_token, cudaStream_t stream);

}  // namespace llama_zero::cuda
