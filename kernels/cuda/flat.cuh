// One kernel for element-wise work over flat ranges: a functor says what to load and what to store at an offset.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/launch.h"

namespace llama_zero::cuda {

inline constexpr int kFlatThreads = 256;

/// Body has: template <int N> struct Values; load<N>(offset, Values<N>&) const; store<N>(offset, Values<N>&) const.
/// A thread handles kUnroll groups of N neighbouring elements, all loaded before the first is stored (independent loads
/// in flight); the last count % N elements go one by one.
template <int N, int kUnroll, typename Body>
__global__ void __launch_bounds__(kFlatThreads) flat_kernel(const Body body, std::int64_t count) {
  const std::int64_t groups = count / N;
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * (kFlatThreads * kUnroll) + threadIdx.x;
  typename Body::template Values<N> values[kUnroll];
#pragma unroll
  for (int u = 0; u < kUnroll; ++u) {
    const std::int64_t group = first + u * kFlatThreads;
    if (group < groups) body.template load<N>(group * N, values[u]);
  }
#pragma unroll
  for (int u = 0; u < kUnroll; ++u) {
    const std::int64_t group = first + u * kFlatThreads;
    if (group < groups) body.template store<N>(group * N, values[u]);
  }
  if constexpr (N > 1) {
    const std::int64_t rest = groups * N + threadIdx.x;
    if (blockIdx.x == 0 && rest < count) {
      typename Body::template Values<1> value;
      body.template load<1>(rest, value);
      body.template store<1>(rest, value);
    }
  }
}

/// Runs body over [0, count), in groups of N when `vectorised`, else element by element.
template <int N, int kUnroll, typename Body>
void launch_flat(const char* op, const Body& body, std::int64_t count, bool vectorised, const Launch& launch) {
  if (count == 0) return;
  if (vectorised) {
    const std::int64_t blocks = ceil_div(ceil_div(count, N), kFlatThreads * kUnroll);
    flat_kernel<N, kUnroll><<<static_cast<unsigned>(blocks), kFlatThreads, 0, launch.stream>>>(body, count);
  } else {
    const std::int64_t blocks = ceil_div(count, kFlatThreads * kUnroll);
    flat_kernel<1, kUnroll><<<static_cast<unsigned>(blocks), kFlatThreads, 0, launch.stream>>>(body, count);
  }
  check_launch(op);
}

}  // namespace llama_zero::cuda
