// Sums and maxima over a warp and over a block, in a fixed order.
#pragma once

#include <cuda_runtime.h>

namespace llama_zero::cuda {

inline constexpr unsigned kAllLanes = 0xffffffffU;

/// Every lane gets the sum; at each level both partners add the same two numbers, so all lanes hold the same bits.
__device__ __forceinline__ float warp_sum(float x) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) x += __shfl_xor_sync(kAllLanes, x, offset);
  return x;
}

__device__ __forceinline__ float warp_max(float x) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, offset));
  return x;
}

/// Sum over the block, for every thread. `parts` is shared memory of kThreads / 32 floats; a caller that reduces in a
/// loop alternates between two of them, since the barrier is only before the reading.
template <int kThreads>
__device__ __forceinline__ float block_sum(float x, float* parts) {
  constexpr int kWarps = kThreads / 32;
  x = warp_sum(x);
  if constexpr (kWarps > 1) {
    const int warp = static_cast<int>(threadIdx.x) / 32;
    if (threadIdx.x % 32 == 0) parts[warp] = x;
    __syncthreads();
    x = 0.0F;
#pragma unroll
    for (int w = 0; w < kWarps; ++w) x += parts[w];
  }
  return x;
}

}  // namespace llama_zero::cuda
