// Sum of squares by the layout rule, and the sum of losses. Built with -fmad=false: bit-identical to the CPU.
#include "kernels/cuda/block.cuh"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/pack.cuh"

namespace llama_zero::cuda {
namespace {

struct SegmentSum {
  float squares;
  std::int32_t not_finite;
};

constexpr int kLanesPerThread = 8;
static_assert(kNormLanes == 32 * kLanesPerThread, "a warp holds the lanes of a segment");
constexpr int kRounds = static_cast<int>(kNormSegment / kNormLanes);
constexpr int kSegmentThreads = 128;

__device__ __forceinline__ int is_not_finite(float x) {
  return (__float_as_uint(x) & 0x7f800000U) == 0x7f800000U ? 1 : 0;
}

/// The contract's tree over 256 lanes, of which thread j of the warp holds 8j .. 8j + 7: widths 128 .. 8 pair whole
/// threads (16 .. 1 threads apart), widths 4, 2, 1 pair lanes inside thread 0.
__device__ __forceinline__ float tree_sum(float (&lanes)[kLanesPerThread]) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
#pragma unroll
    for (int i = 0; i < kLanesPerThread; ++i) lanes[i] += __shfl_down_sync(kAllLanes, lanes[i], offset);
  }
#pragma unroll
  for (int width = kLanesPerThread / 2; width > 0; width /= 2) {
#pragma unroll
    for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  }
  return lanes[0];
}

/// One warp a segment. kWhole: every segment is full and 16-byte accesses are allowed.
template <typename T, bool kVectorised>
__global__ void __launch_bounds__(kSegmentThreads)
    segment_sums_kernel(const T* values, std::int64_t count, std::int64_t segments, SegmentSum* sums) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const std::int64_t segment =
      static_cast<std::int64_t>(blockIdx.x) * (kSegmentThreads / 32) + static_cast<int>(threadIdx.x) / 32;
  if (segment >= segments) return;
  const std::int64_t start = segment * kNormSegment + lane * kLanesPerThread;
  float lanes[kLanesPerThread] = {};
  int bad = 0;
  const auto add = [&](int i, float x) {
    lanes[i] = fmaf(x, x, lanes[i]);
    bad += is_not_finite(x);
  };
  if (kVectorised && (segment + 1) * kNormSegment <= count) {
#pragma unroll 8
    for (int round = 0; round < kRounds; ++round) {
      float x[kLanesPerThread];
      load<T, kLanesPerThread>(values + start + round * kNormLanes, x);
#pragma unroll
      for (int i = 0; i < kLanesPerThread; ++i) add(i, x[i]);
    }
  } else {
    for (int round = 0; round < kRounds; ++round) {
#pragma unroll
      for (int i = 0; i < kLanesPerThread; ++i) {
        const std::int64_t element = start + round * kNormLanes + i;
        if (element < count) add(i, to_float(values[element]));
      }
    }
  }
  const float squares = tree_sum(lanes);
  bad = __reduce_add_sync(kAllLanes, bad);
  if (lane == 0) sums[segment] = {squares, bad};
}

/// What a group of segments, or of groups, adds up to.
struct GroupSum {
  double squares;
  unsigned long long not_finite;
};

constexpr int kGroupThreads = static_cast<int>(kNormGroup);

/// A block a group: its segment sums are brought into shared memory at once, and thread 0 adds them in order.
__global__ void __launch_bounds__(kGroupThreads)
    group_sums_kernel(const SegmentSum* sums, std::int64_t segments, GroupSum* groups) {
  __shared__ double squares[kGroupThreads];
  __shared__ unsigned long long bad;
  const int thread = static_cast<int>(threadIdx.x);
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * kNormGroup;
  if (thread == 0) bad = 0;
  __syncthreads();
  if (first + thread < segments) {
    const SegmentSum sum = sums[first + thread];
    squares[thread] = static_cast<double>(sum.squares);
    // Integers: any order gives the same.
    if (sum.not_finite > 0) atomicAdd(&bad, static_cast<unsigned long long>(sum.not_finite));
  }
  __syncthreads();
  if (thread != 0) return;
  const int here = static_cast<int>(min(kNormGroup, segments - first));
  double total = 0.0;
#pragma unroll 16
  for (int i = 0; i < here; ++i) total += squares[i];
  groups[blockIdx.x] = {total, bad};
}

constexpr int kOrderedThreads = 1024;

/// Adds `values[i]`, i < count, in order to `total`; all threads must call it, thread 0 returns the sum. The others
/// bring the numbers into shared memory, two buffers by turns.
template <typename Load>
__device__ __forceinline__ double ordered_sum(double total, std::int64_t count, const Load& load) {
  __shared__ double chunk[2][kOrderedThreads];
  const int thread = static_cast<int>(threadIdx.x);
  int buffer = 0;
  for (std::int64_t start = 0; start < count; start += kOrderedThreads, buffer ^= 1) {
    if (start + thread < count) chunk[buffer][thread] = load(start + thread);
    __syncthreads();
    if (thread == 0) {
      const int here = static_cast<int>(min(static_cast<std::int64_t>(kOrderedThreads), count - start));
#pragma unroll 16
      for (int i = 0; i < here; ++i) total += chunk[buffer][i];
    }
  }
  return total;
}

__global__ void __launch_bounds__(kOrderedThreads)
    add_groups_kernel(const GroupSum* groups, std::int64_t count, double* result, bool accumulate) {
  __shared__ unsigned long long bad;
  if (threadIdx.x == 0) bad = 0;
  unsigned long long my_bad = 0;
  for (std::int64_t g = threadIdx.x; g < count; g += kOrderedThreads) my_bad += groups[g].not_finite;
  const double total =
      ordered_sum(accumulate ? result[0] : 0.0, count, [&](std::int64_t g) { return groups[g].squares; });
  __syncthreads();
  if (my_bad > 0) atomicAdd(&bad, my_bad);
  __syncthreads();
  if (threadIdx.x == 0) {
    result[0] = total;
    result[1] = (accumulate ? result[1] : 0.0) + static_cast<double>(bad);
  }
}

/// A thread a group of losses.
__global__ void __launch_bounds__(kOrderedThreads)
    sum_losses_kernel(const float* values, std::int64_t count, double* total, bool accumulate) {
  const std::int64_t groups = (count + kLossGroup - 1) / kLossGroup;
  const double sum = ordered_sum(accumulate ? *total : 0.0, groups, [&](std::int64_t g) {
    const float* group = values + g * kLossGroup;
    const int here = static_cast<int>(min(kLossGroup, count - g * kLossGroup));
    double group_sum = 0.0;
#pragma unroll 16
    for (int i = 0; i < here; ++i) group_sum += static_cast<double>(group[i]);
    return group_sum;
  });
  if (threadIdx.x == 0) *total = sum;
}

}  // namespace

void run(const SumLosses& args, const Launch& launch) {
  require(args.values.dtype() == DType::kF32, "sum_losses: the CUDA backend keeps losses in fp32, not {}",
          name_of(args.values.dtype()));
  sum_losses_kernel<<<1, kOrderedThreads, 0, launch.stream>>>(pointer<float>(args.values), args.values.numel(),
                                                              pointer<double>(args.total), args.accumulate);
  check_launch("sum_losses");
}

std::size_t workspace_bytes(const SumOfSquares& args) {
  const std::int64_t segments = ceil_div(args.values.numel(), kNormSegment);
  return Scratch::bytes<SegmentSum>(segments) + Scratch::bytes<GroupSum>(ceil_div(segments, kNormGroup));
}

void run(const SumOfSquares& args, const Launch& launch) {
  constexpr const char* kOp = "sum_of_squares";
  const std::int64_t count = args.values.numel();
  const std::int64_t segments = ceil_div(count, kNormSegment);
  const std::int64_t groups = ceil_div(segments, kNormGroup);
  Scratch scratch(kOp, launch.workspace, workspace_bytes(args));
  auto* sums = scratch.take<SegmentSum>(segments);
  auto* group_sums = scratch.take<GroupSum>(groups);
  if (segments > 0) {
    const auto blocks = static_cast<unsigned>(ceil_div(segments, kSegmentThreads / 32));
    with_storage(kOp, args.values.dtype(), [&]<typename T>(T) {
      const T* values = pointer<T>(args.values);
      const auto kernel = aligned16(values) ? segment_sums_kernel<T, true> : segment_sums_kernel<T, false>;
      kernel<<<blocks, kSegmentThreads, 0, launch.stream>>>(values, count, segments, sums);
    });
    group_sums_kernel<<<static_cast<unsigned>(groups), kGroupThreads, 0, launch.stream>>>(sums, segments, group_sums);
  }
  // An empty view still writes zeros.
  add_groups_kernel<<<1, kOrderedThreads, 0, launch.stream>>>(group_sums, groups, pointer<double>(args.result),
                                                              args.accumulate);
  check_launch(kOp);
}

}  // namespace llama_zero::cuda
