// Softmax cross-entropy, forward and backward in place.
//
// Losses alone: a block reads its row once, many loads ahead.
// With gradients, 16-bit rows of up to half the shared memory: a persistent block brings the next rows into shared
// memory while it works on the present one, so that every logit is read once and written once. Otherwise a block reads
// its row twice, the second time from L2: there are no more blocks at a time than L2 has room for.
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
  const float* weights;
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

/// Statistics of the block for every thread. `parts` holds a pair for each warp; a loop alternates between two, from
/// call to call, since the barrier is only before the reading.
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
__device__ __forceinline__ float weight_of(const Rows<T>& args, std::int64_t row) {
  return args.weights != nullptr ? args.weights[row] : 1.0F;
}

template <typename T>
__device__ __forceinline__ bool is_target(const Rows<T>& args, std::int32_t target) {
  return target >= 0 && target < args.vocab;
}

/// Rows whose target is no token and not kIgnoreTarget get a NaN loss: no training survives it unseen.
__device__ __forceinline__ float loss_without_target(std::int32_t target) {
  return target == kIgnoreTarget ? 0.0F : __int_as_float(0x7fffffff);
}

/// Writes the gradient of N logits and, in the thread that holds the target, the loss. `seed` has the row's weight in
/// it.
template <typename T, int N>
__device__ __forceinline__ void finish_group(const Rows<T>& args, std::int64_t row, int column, std::int32_t target,
                                             const Statistics& statistics, float weight, float seed, float (&x)[N]) {
  const float factor = seed / statistics.sum;
#pragma unroll
  for (int i = 0; i < N; ++i) {
    const float logit = x[i];
    x[i] = exponential<T>(logit - statistics.max) * factor;
    if (column + i == target) {
      args.losses[row] = weight * (logf(statistics.sum) + (statistics.max - logit));
      x[i] -= seed;
    }
  }
  if (!args.forward_only) store<T, N>(args.logits + row * args.vocab + column, x);
}

constexpr int kLossThreads = 256;
constexpr int kStreamThreads = 1024;
constexpr int kKeptGroups = 4;  // groups of eight powers that fit a thread's registers: rows of up to 32,768 logits

/// Losses alone, 16-byte accesses: a thread loads its next packs while it works on the present ones.
template <typename T>
__global__ void __launch_bounds__(kLossThreads, 4) losses_kernel(const Rows<T> args) {
  constexpr int N = kPackOf<T>;
  constexpr int kAhead = 4;
  __shared__ Statistics parts[kLossThreads / 32];
  const std::int64_t row = blockIdx.x;
  const std::int32_t target = args.targets[row];
  if (!is_target(args, target)) {
    if (threadIdx.x == 0) args.losses[row] = loss_without_target(target);
    return;
  }
  const T* logits = args.logits + row * args.vocab;
  const float target_logit = threadIdx.x == 0 ? to_float(logits[target]) : 0.0F;
  const int packs = args.vocab / N;
  constexpr int kStep = kLossThreads * kAhead;
  Pack<T, N> next[kAhead];
  const auto fetch = [&](int first) {
#pragma unroll
    for (int a = 0; a < kAhead; ++a) {
      const int p = first + a * kLossThreads;
      if (p < packs) next[a] = load_pack<T, N>(logits + p * N);
    }
  };
  Statistics statistics{-INFINITY, 0.0F};
  fetch(static_cast<int>(threadIdx.x));
  for (int first = static_cast<int>(threadIdx.x); first < packs; first += kStep) {
    Pack<T, N> present[kAhead];
#pragma unroll
    for (int a = 0; a < kAhead; ++a) present[a] = next[a];
    fetch(first + kStep);
    float max = statistics.max;
#pragma unroll
    for (int a = 0; a < kAhead; ++a) {
      float x[N];
      unpack(present[a], x);
#pragma unroll
      for (int i = 0; i < N; ++i) max = first + a * kLossThreads < packs ? fmaxf(max, x[i]) : max;
    }
    statistics = {max, rescaled<T>(statistics, max)};
#pragma unroll
    for (int a = 0; a < kAhead; ++a) {
      if (first + a * kLossThreads >= packs) continue;
      float x[N];
      unpack(present[a], x);
#pragma unroll
      for (int i = 0; i < N; ++i) statistics.sum += exponential<T>(x[i] - max);
    }
  }
  statistics = block_statistics<T, kLossThreads>(statistics, parts);
  if (threadIdx.x == 0) {
    args.losses[row] = weight_of(args, row) * (logf(statistics.sum) + (statistics.max - target_logit));
  }
}

/// 16-bit storage, vocab a multiple of 8, at most kGroups groups of eight a thread; kStages rows under way or in work.
/// A thread reads only what it copied itself, so the buffers need no barrier. Powers stay in registers between the sum
/// and the gradient where they fit, else they are taken twice.
template <typename T, int kGroups, int kStages>
__global__ void __launch_bounds__(kStreamThreads, 1) streamed_rows_kernel(const Rows<T> args) {
  constexpr int N = kPackOf<T>;
  constexpr bool kKept = kGroups <= kKeptGroups;
  extern __shared__ uint4 buffers[];  // kStages rows
  __shared__ Statistics parts[2][kStreamThreads / 32];
  const int packs = args.vocab / N;
  const int thread = static_cast<int>(threadIdx.x);
  const float common_seed = seed_of(args);

  const auto fetch = [&](std::int64_t row, int stage) {
    if (row < args.rows && is_target(args, args.targets[row])) {
      const auto* from = reinterpret_cast<const uint4*>(args.logits + row * args.vocab);
      for (int p = thread; p < packs; p += kStreamThreads) copy_async16(buffers + stage * packs + p, from + p);
    }
    commit_async();
  };

  const auto stride = static_cast<std::int64_t>(gridDim.x);
#pragma unroll
  for (int s = 0; s < kStages - 1; ++s) fetch(blockIdx.x + s * stride, s);
  int stage = 0;
  int half = 0;
  for (std::int64_t row = blockIdx.x; row < args.rows; row += stride) {
    const std::int32_t target = args.targets[row];
    const int present = stage;
    fetch(row + (kStages - 1) * stride, present == 0 ? kStages - 1 : present - 1);  // in place of the previous row
    stage = present == kStages - 1 ? 0 : present + 1;
    wait_async<kStages - 1>();
    T* logits = args.logits + row * args.vocab;
    if (!is_target(args, target)) {
      if (thread == 0) args.losses[row] = loss_without_target(target);
      for (int p = thread; p < packs; p += kStreamThreads) {
        reinterpret_cast<uint4*>(logits)[p] = uint4{0, 0, 0, 0};
      }
      continue;
    }
    const auto* mine = reinterpret_cast<const Pack<T, N>*>(buffers + present * packs) + thread;
    float powers[kKept ? kGroups : 1][N];
    float max = -INFINITY;
#pragma unroll
    for (int g = 0; g < kGroups; ++g) {
      if (thread + g * kStreamThreads >= packs) continue;
      float(&x)[N] = powers[kKept ? g : 0];
      unpack(mine[g * kStreamThreads], x);
#pragma unroll
      for (int i = 0; i < N; ++i) max = fmaxf(max, x[i]);
    }
    float sum = 0.0F;
#pragma unroll
    for (int g = 0; g < kGroups; ++g) {
      if (thread + g * kStreamThreads >= packs) continue;
      float(&x)[N] = powers[kKept ? g : 0];
      if constexpr (!kKept) unpack(mine[g * kStreamThreads], x);
#pragma unroll
      for (int i = 0; i < N; ++i) {
        x[i] = exponential<T>(x[i] - max);
        sum += x[i];
      }
    }
    const Statistics statistics = block_statistics<T, kStreamThreads>({max, sum}, parts[half]);
    half ^= 1;
    const int target_pack = target / N;
    if (target_pack % kStreamThreads == thread) {
      const T logit = reinterpret_cast<const T*>(buffers + present * packs)[target];
      args.losses[row] = weight_of(args, row) * (logf(statistics.sum) + (statistics.max - to_float(logit)));
    }
    const float seed = weight_of(args, row) * common_seed;
    const float factor = rescaled<T>({max, 1.0F}, statistics.max) * (seed / statistics.sum);
#pragma unroll
    for (int g = 0; g < kGroups; ++g) {
      const int p = thread + g * kStreamThreads;
      if (p >= packs) continue;
      float(&x)[N] = powers[kKept ? g : 0];
      if constexpr (!kKept) {
        unpack(mine[g * kStreamThreads], x);
#pragma unroll
        for (int i = 0; i < N; ++i) x[i] = exponential<T>(x[i] - max);
      }
#pragma unroll
      for (int i = 0; i < N; ++i) x[i] *= factor;
      if (p == target_pack) {
#pragma unroll
        for (int i = 0; i < N; ++i) x[i] -= i == target % N ? seed : 0.0F;
      }
      store<T, N>(logits + p * N, x);
    }
  }
}

constexpr int kThreads = 512;

/// One row, N logits at a time.
template <typename T, int N>
__device__ __forceinline__ void work_on_row(const Rows<T>& args, std::int64_t row,
                                            Statistics (&parts)[2][kThreads / 32], int& half) {
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
  statistics = block_statistics<T, kThreads>(statistics, parts[half]);
  half ^= 1;
  const float weight = weight_of(args, row);
  const float seed = weight * seed_of(args);
  for (int c = first; c < args.vocab; c += kThreads * N) {
    float x[N];
    load<T, N>(logits + c, x);
    finish_group<T, N>(args, row, c, target, statistics, weight, seed, x);
  }
}

template <typename T, int N>
__global__ void __launch_bounds__(kThreads) rows_kernel(const Rows<T> args) {
  __shared__ Statistics parts[2][kThreads / 32];
  int half = 0;
  for (std::int64_t row = blockIdx.x; row < args.rows; row += gridDim.x) work_on_row<T, N>(args, row, parts, half);
}

template <typename T, int kGroups, int kStages>
void launch_streamed(const Rows<T>& rows, const Launch& launch) {
  const auto kernel = streamed_rows_kernel<T, kGroups, kStages>;
  const auto shared = kStages * rows.vocab * static_cast<int>(sizeof(T));
  LLAMA_ZERO_CUDA(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared));
  kernel<<<static_cast<unsigned>(launch.multiprocessors), kStreamThreads, shared, launch.stream>>>(rows);
}

/// Blocks of rows_kernel at a time: what the GPU holds, but few enough that their rows stay in kRowsInCache bytes.
template <typename T>
unsigned row_blocks(const Rows<T>& rows, const Launch& launch) {
  constexpr std::int64_t kRowsInCache = 32 << 20;
  const auto row_bytes = static_cast<std::int64_t>(sizeof(T)) * rows.vocab;
  const std::int64_t most = std::int64_t{launch.multiprocessors} * (2048 / kThreads);
  const std::int64_t cached = std::max<std::int64_t>(kRowsInCache / row_bytes, launch.multiprocessors);
  return static_cast<unsigned>(std::min({rows.rows, most, cached}));
}

template <typename T>
void launch_rows(const Rows<T>& rows, const Launch& launch) {
  constexpr int N = kPackOf<T>;
  const bool vectorised = rows.vocab % N == 0 && aligned16(rows.logits);
  if (vectorised && rows.forward_only) {
    losses_kernel<T><<<static_cast<unsigned>(rows.rows), kLossThreads, 0, launch.stream>>>(rows);
    return;
  }
  if constexpr (sizeof(T) == 2) {
    constexpr std::size_t kStaticShared = 1024;  // of streamed_rows_kernel, rounded up
    const std::size_t stages =
        (launch.shared_memory_block - kStaticShared) / (static_cast<std::size_t>(rows.vocab) * sizeof(T));
    // Short rows and few of them are no work for blocks of 1,024 threads.
    const bool streamed = vectorised && rows.vocab >= 8 * kStreamThreads && rows.rows >= launch.multiprocessors;
    if (streamed && rows.vocab <= kKeptGroups * N * kStreamThreads && stages >= 2) {
      if (stages >= 3) return launch_streamed<T, kKeptGroups, 3>(rows, launch);
      return launch_streamed<T, kKeptGroups, 2>(rows, launch);
    }
    constexpr int kMostGroups = 2 * kKeptGroups;
    if (streamed && rows.vocab <= kMostGroups * N * kStreamThreads && stages >= 2) {
      return launch_streamed<T, kMostGroups, 2>(rows, launch);
    }
  }
  if (vectorised) {
    rows_kernel<T, N><<<row_blocks(rows, launch), kThreads, 0, launch.stream>>>(rows);
  } else {
    rows_kernel<T, 1><<<row_blocks(rows, launch), kThreads, 0, launch.stream>>>(rows);
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
                       pointer<float>(args.weights),
                       args.seed_factor,
                       args.tokens_count,
                       static_cast<int>(args.vocab_size),
                       args.forward_only};
    launch_rows(rows, launch);
  });
  check_launch(kOp);
}

}  // namespace llama_zero::cuda
