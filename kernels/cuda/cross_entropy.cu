// Softmax cross-entropy, forward and backward in place.
//
// 16-bit rows of up to 32,768 logits: a persistent block brings the next row into shared memory while it works on the
// present one, so that every logit is read once and written once. Otherwise a block reads its row twice, the second
// time mostly from L2.
#include <algorithm>
#include <cmath>
#include <type_traits>

#include "kernels/cuda/async_copy.cuh"
#include "kernels/cuda/block.cuh"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/pack.cuh"

namespace llama_zero::cuda {
namespace {

constexpr const char* kOp = "cross_entropy";

template <typename T>
struct Rows {
  T* logits;
  const std::int32_t* targets;
  float* losses;
  const float* loss_scale;
  double seed_factor;
  std::int64_t rows;
  int vocab;
  bool forward_only;
};

/// e^x: full fp32 accuracy for fp32 storage; for 16-bit storage the hardware's power of two, whose error (about 2^-21
/// of the result at the differences that matter) is far below the rounding of storage.
template <typename T>
__device__ __forceinline__ float exponential(float x) {
  if constexpr (std::is_same_v<T, float>) {
    return expf(x);
  } else {
    return __expf(x);
  }
}

/// Largest logit and sum of exp(logit - largest) over some of a row; `sum` of nothing is 0 at -infinity.
struct Statistics {
  float max;
  float sum;
};

/// The statistics of both parts together, as seen from a maximum known to be the larger.
template <typename T>
__device__ __forceinline__ float rescaled(const Statistics& part, float max) {
  return part.sum == 0.0F ? 0.0F : part.sum * exponential<T>(part.max - max);
}

template <typename T>
__device__ __forceinline__ Statistics warp_statistics(Statistics mine) {
  const float max = warp_max(mine.max);
  return {max, warp_sum(rescaled<T>(mine, max))};
}

/// Statistics of the block for every thread. `parts` holds a pair for each warp; alternate between two in a loop.
template <typename T, int kThreads>
__device__ __forceinline__ Statistics block_statistics(Statistics mine, Statistics* parts) {
  mine = warp_statistics<T>(mine);
  const int lane = static_cast<int>(threadIdx.x) % 32;
  if (lane == 0) parts[threadIdx.x / 32] = mine;
  __syncthreads();
  const Statistics part = lane < kThreads / 32 ? parts[lane] : Statistics{-INFINITY, 0.0F};
  return warp_statistics<T>(part);
}

template <typename T>
__device__ __forceinline__ float seed_of(const Rows<T>& args) {
  const double scale = args.loss_scale != nullptr ? static_cast<double>(*args.loss_scale) : 1.0;
  return static_cast<float>(args.seed_factor * scale);
}

template <typename T>
__device__ __forceinline__ bool is_target(const Rows<T>& args, std::int32_t target) {
  return target >= 0 && target < args.vocab;
}

/// Rows whose target is no token and not kIgnoreTarget get a NaN loss: no training survives it unseen.
__device__ __forceinline__ float loss_without_target(std::int32_t target) {
  return target == kIgnoreTarget ? 0.0F : __int_as_float(0x7fffffff);
}

/// Writes the gradient of N logits and, in the thread that holds the target, the loss.
template <typename T, int N>
__device__ __forceinline__ void finish_group(const Rows<T>& args, std::int64_t row, int column, std::int32_t target,
                                             const Statistics& statistics, float seed, float (&x)[N]) {
  const float factor = seed / statistics.sum;
#pragma unroll
  for (int i = 0; i < N; ++i) {
    const float logit = x[i];
    x[i] = exponential<T>(logit - statistics.max) * factor;
    if (column + i == target) {
      args.losses[row] = logf(statistics.sum) + (statistics.max - logit);
      x[i] -= seed;
    }
  }
  if (!args.forward_only) store<T, N>(args.logits + row * args.vocab + column, x);
}

constexpr int kStreamThreads = 1024;
constexpr int kStreamGroups = 4;  // groups of eight logits that a thread has of a row: up to 32,768 logits

/// 16-bit storage, vocab a multiple of 8. A thread reads only what it copied itself, so the buffers need no barrier;
/// the powers stay in registers between the sum and the gradient, so that each costs one exponential.
template <typename T>
__global__ void __launch_bounds__(kStreamThreads, 1) streamed_rows_kernel(const Rows<T> args) {
  constexpr int N = kPackOf<T>;
  extern __shared__ uint4 buffers[];  // two rows
  __shared__ Statistics parts[2][kStreamThreads / 32];
  const int packs = args.vocab / N;
  const int thread = static_cast<int>(threadIdx.x);
  const float seed = seed_of(args);

  const auto fetch = [&](std::int64_t row, int buffer) {
    if (row < args.rows && is_target(args, args.targets[row])) {
      const auto* from = reinterpret_cast<const uint4*>(args.logits + row * args.vocab);
      for (int p = thread; p < packs; p += kStreamThreads) copy_async16(buffers + buffer * packs + p, from + p);
    }
    commit_async();
  };

  int buffer = 0;
  fetch(blockIdx.x, buffer);
  for (std::int64_t row = blockIdx.x; row < args.rows; row += gridDim.x, buffer ^= 1) {
    const std::int32_t target = args.targets[row];
    fetch(row + gridDim.x, buffer ^ 1);
    wait_async<1>();
    T* logits = args.logits + row * args.vocab;
    if (!is_target(args, target)) {
      if (thread == 0) args.losses[row] = loss_without_target(target);
      for (int p = thread; p < packs && !args.forward_only; p += kStreamThreads) {
        reinterpret_cast<uint4*>(logits)[p] = uint4{0, 0, 0, 0};
      }
      continue;
    }
    const auto* mine = reinterpret_cast<const Pack<T, N>*>(buffers + buffer * packs) + thread;
    float powers[kStreamGroups][N];
    float max = -INFINITY;
#pragma unroll
    for (int g = 0; g < kStreamGroups; ++g) {
      if (thread + g * kStreamThreads >= packs) continue;
      unpack(mine[g * kStreamThreads], powers[g]);
#pragma unroll
      for (int i = 0; i < N; ++i) max = fmaxf(max, powers[g][i]);
    }
    float sum = 0.0F;
#pragma unroll
    for (int g = 0; g < kStreamGroups; ++g) {
      if (thread + g * kStreamThreads >= packs) continue;
#pragma unroll
      for (int i = 0; i < N; ++i) {
        powers[g][i] = exponential<T>(powers[g][i] - max);
        sum += powers[g][i];
      }
    }
    const Statistics statistics = block_statistics<T, kStreamThreads>({max, sum}, parts[buffer]);
    const int target_pack = target / N;
    if (target_pack % kStreamThreads == thread) {
      const T logit = reinterpret_cast<const T*>(buffers + buffer * packs)[target];
      args.losses[row] = logf(statistics.sum) + (statistics.max - to_float(logit));
    }
    if (args.forward_only) continue;
    const float factor = rescaled<T>({max, 1.0F}, statistics.max) * (seed / statistics.sum);
#pragma unroll
    for (int g = 0; g < kStreamGroups; ++g) {
      const int p = thread + g * kStreamThreads;
      if (p >= packs) continue;
#pragma unroll
      for (int i = 0; i < N; ++i) powers[g][i] *= factor;
      if (p == target_pack) {
#pragma unroll
        for (int i = 0; i < N; ++i) powers[g][i] -= i == target % N ? seed : 0.0F;
      }
      store<T, N>(logits + p * N, powers[g]);
    }
  }
}

constexpr int kThreads = 512;

/// A block a row, N logits at a time.
template <typename T, int N>
__global__ void __launch_bounds__(kThreads) rows_kernel(const Rows<T> args) {
  __shared__ Statistics parts[kThreads / 32];
  const std::int64_t row = blockIdx.x;
  const std::int32_t target = args.targets[row];
  const int first = static_cast<int>(threadIdx.x) * N;
  T* logits = args.logits + row * args.vocab;
  if (!is_target(args, target)) {
    if (threadIdx.x == 0) args.losses[row] = loss_without_target(target);
    const float zeros[N] = {};
    for (int c = first; c < args.vocab && !args.forward_only; c += kThreads * N) store<T, N>(logits + c, zeros);
    return;
  }
  Statistics statistics{-INFINITY, 0.0F};
  for (int c = first; c < args.vocab; c += kThreads * N) {
    float x[N];
    load<T, N>(logits + c, x);
    float max = statistics.max;
#pragma unroll
    for (int i = 0; i < N; ++i) max = fmaxf(max, x[i]);
    statistics = {max, rescaled<T>(statistics, max)};
#pragma unroll
    for (int i = 0; i < N; ++i) statistics.sum += exponential<T>(x[i] - max);
  }
  statistics = block_statistics<T, kThreads>(statistics, parts);
  const float seed = seed_of(args);
  for (int c = first; c < args.vocab; c += kThreads * N) {
    float x[N];
    load<T, N>(logits + c, x);
    finish_group<T, N>(args, row, c, target, statistics, seed, x);
  }
}

template <typename T>
void launch_rows(const Rows<T>& rows, const Launch& launch) {
  constexpr int N = kPackOf<T>;
  const bool vectorised = rows.vocab % N == 0 && aligned16(rows.logits);
  const std::size_t two_rows = 2 * static_cast<std::size_t>(rows.vocab) * sizeof(T);
  constexpr std::size_t kStaticShared = 1024;  // of streamed_rows_kernel, rounded up
  if constexpr (sizeof(T) == 2) {
    // Short rows and few of them are no work for blocks of 1,024 threads.
    const bool streamed = vectorised && rows.vocab >= 8 * kStreamThreads &&
                          rows.vocab <= kStreamGroups * N * kStreamThreads && rows.rows >= launch.multiprocessors &&
                          two_rows + kStaticShared <= launch.shared_memory_block;
    if (streamed) {
      LLAMA_ZERO_CUDA(cudaFuncSetAttribute(streamed_rows_kernel<T>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                           static_cast<int>(two_rows)));
      const auto blocks = static_cast<unsigned>(launch.multiprocessors);
      streamed_rows_kernel<T><<<blocks, kStreamThreads, two_rows, launch.stream>>>(rows);
      return;
    }
  }
  if (vectorised) {
    rows_kernel<T, N><<<static_cast<unsigned>(rows.rows), kThreads, 0, launch.stream>>>(rows);
  } else {
    rows_kernel<T, 1><<<static_cast<unsigned>(rows.rows), kThreads, 0, launch.stream>>>(rows);
  }
}

}  // namespace

void run(const CrossEntropy& args, const Launch& launch) {
  if (args.tokens_count == 0) return;
  with_storage(kOp, args.logits.dtype(), [&]<typename T>(T) {
    const Rows<T> rows{pointer<T>(args.logits),
                       pointer<std::int32_t>(args.targets),
                       pointer<float>(args.losses),
                       pointer<float>(args.loss_scale),
                       args.seed_factor,
                       args.tokens_count,
                       static_cast<int>(args.vocab_size),
                       args.forward_only};
    launch_rows(rows, launch);
  });
  check_launch(kOp);
}

}  // namespace llama_zero::cuda
