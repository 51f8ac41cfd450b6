// Sum of squares by the layout rule, and the sum of losses. Built with -fmad=false: bit-identical to the CPU.
#include <algorithm>

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

constexpr int kOrderedThreads = 1024;

/// result (+)= the segments, in order, in fp64: the other threads bring the numbers into shared memory, thread 0 adds.
__global__ void __launch_bounds__(kOrderedThreads)
    add_segments_kernel(const SegmentSum* sums, std::int64_t segments, double* result, bool accumulate) {
  __shared__ double squares[2][kOrderedThreads];
  __shared__ unsigned long long bad;
  const int thread = static_cast<int>(threadIdx.x);
  if (thread == 0) bad = 0;
  double total = thread == 0 && accumulate ? result[0] : 0.0;
  unsigned long long my_bad = 0;
  int buffer = 0;
  for (std::int64_t start = 0; start < segments; start += kOrderedThreads, buffer ^= 1) {
    const std::int64_t segment = start + thread;
    const SegmentSum sum = segment < segments ? sums[segment] : SegmentSum{0.0F, 0};
    squares[buffer][thread] = static_cast<double>(sum.squares);
    my_bad += static_cast<unsigned long long>(sum.not_finite);
    __syncthreads();
    if (thread == 0) {  // the others go on to fill the other buffer
      const int here = static_cast<int>(segments - start < kOrderedThreads ? segments - start : kOrderedThreads);
#pragma unroll 16
      for (int i = 0; i < here; ++i) total += squares[buffer][i];
    }
  }
  __syncthreads();
  atomicAdd(&bad, my_bad);  // integers: any order gives the same
  __syncthreads();
  if (thread == 0) {
    result[0] = total;
    result[1] = (accumulate ? result[1] : 0.0) + static_cast<double>(bad);
  }
}

__global__ void __launch_bounds__(kOrderedThreads)
    sum_losses_kernel(const float* values, std::int64_t count, double* total, bool accumulate) {
  __shared__ double chunk[2][kOrderedThreads];
  const int thread = static_cast<int>(threadIdx.x);
  double sum = thread == 0 && accumulate ? *total : 0.0;
  int buffer = 0;
  for (std::int64_t start = 0; start < count; start += kOrderedThreads, buffer ^= 1) {
    if (start + thread < count) chunk[buffer][thread] = static_cast<double>(values[start + thread]);
    __syncthreads();
    if (thread == 0) {
      const int here = static_cast<int>(count - start < kOrderedThreads ? count - start : kOrderedThreads);
#pragma unroll 16
      for (int i = 0; i < here; ++i) sum += chunk[buffer][i];
    }
  }
  if (thread == 0) *total = sum;
}

}  // namespace

void run(const SumLosses& args, const Launch& launch) {
  require(args.values.dtype() == DType::kF32, "sum_losses: the CUDA backend keeps losses in fp32, not {}",
          name_of(args.values.dtype()));
  sum_losses_kernel<<<1, kOrderedThreads, 0, launch.stream>>>(pointer<float>(args.values), args.values.numel(),
                                                              pointer<double>(args.total), args.accumulate);
  check_launch("sum_losses");
}

void run(const SumOfSquares& args, const Launch& launch) {
  constexpr const char* kOp = "sum_of_squares";
  const std::int64_t count = args.values.numel();
  const std::int64_t segments = ceil_div(count, kNormSegment);
  require(launch.workspace.bytes() >= kNormWorkspaceBytes, "{}: workspace has {} bytes, needs {}", kOp,
          launch.workspace.bytes(), kNormWorkspaceBytes);
  const std::int64_t batch = std::min<std::int64_t>(
      std::max<std::int64_t>(segments, 1), static_cast<std::int64_t>(launch.workspace.bytes() / sizeof(SegmentSum)));
  auto* sums = pointer<SegmentSum>(launch.workspace);
  auto* result = pointer<double>(args.result);
  std::int64_t first = 0;
  do {  // at least once, so that an empty view still writes zeros
    const std::int64_t here = std::min(batch, segments - first);
    if (here > 0) {
      const auto blocks = static_cast<unsigned>(ceil_div(here, kSegmentThreads / 32));
      const std::int64_t offset = first * kNormSegment;
      with_storage(kOp, args.values.dtype(), [&]<typename T>(T) {
        const T* values = pointer<T>(args.values) + offset;
        if (aligned16(values)) {
          segment_sums_kernel<T, true>
              <<<blocks, kSegmentThreads, 0, launch.stream>>>(values, count - offset, here, sums);
        } else {
          segment_sums_kernel<T, false>
              <<<blocks, kSegmentThreads, 0, launch.stream>>>(values, count - offset, here, sums);
        }
      });
    }
    add_segments_kernel<<<1, kOrderedThreads, 0, launch.stream>>>(sums, here, result, args.accumulate || first > 0);
    first += here;
  } while (first < segments);
  check_launch(kOp);
}

}  // namespace llama_zero::cuda
