// Rotary position embedding on the fused qkv. A block takes a token; a thread keeps its angles and walks the heads.
#include <algorithm>

#include "kernels/cuda/kernels.h"
#include "kernels/cuda/pack.cuh"

namespace llama_zero::cuda {
namespace {

constexpr int kThreads = 128;

struct Shape {
  int heads;      ///< query and key heads
  int row_heads;  ///< value heads too
  int head_dim;
  std::int64_t max_position;
};

/// N neighbouring pairs a step; `items` = pairs of a head / N threads share a head.
template <typename T, int N>
__global__ void __launch_bounds__(kThreads)
    rope_kernel(T* qkv, const std::int32_t* positions, const float* cos_sin, const Shape shape, float direction) {
  const int half = shape.head_dim / 2;
  const int items = half / N;
  const int heads_at_once = kThreads / items;
  const int item = static_cast<int>(threadIdx.x) % items;
  const int first_head = static_cast<int>(threadIdx.x) / items;
  const std::int32_t position = positions[blockIdx.x];
  if (first_head >= heads_at_once) return;
  float cosine[N];
  float sine[N];
  const bool known = position >= 0 && position < shape.max_position;  // else NaN: no loss survives it
  const float* row = cos_sin + static_cast<std::int64_t>(known ? position : 0) * shape.head_dim + item * N * 2;
  float pairs[2 * N];
  if constexpr (N > 1) {
    load<float, 2 * N>(row, pairs);
  } else {
    pairs[0] = row[0];
    pairs[1] = row[1];
  }
#pragma unroll
  for (int i = 0; i < N; ++i) {
    cosine[i] = known ? pairs[2 * i] : __int_as_float(0x7fffffff);
    sine[i] = pairs[2 * i + 1] * direction;
  }
  T* token = qkv + static_cast<std::int64_t>(blockIdx.x) * shape.row_heads * shape.head_dim + item * N;
#pragma unroll 2
  for (int head = first_head; head < shape.heads; head += heads_at_once) {
    T* at = token + head * shape.head_dim;
    float lower[N];
    float upper[N];
    load<T, N>(at, lower);
    load<T, N>(at + half, upper);
    float rotated[N];
#pragma unroll
    for (int i = 0; i < N; ++i) rotated[i] = lower[i] * cosine[i] - upper[i] * sine[i];
    store<T, N>(at, rotated);
#pragma unroll
    for (int i = 0; i < N; ++i) rotated[i] = upper[i] * cosine[i] + lower[i] * sine[i];
    store<T, N>(at + half, rotated);
  }
}

template <typename T, int N>
void launch_rope(const Rope& args, const Launch& launch) {
  const Shape shape{static_cast<int>(args.query_heads + args.kv_heads),
                    static_cast<int>(args.query_heads + 2 * args.kv_heads), static_cast<int>(args.head_dim),
                    args.max_position};
  rope_kernel<T, N><<<static_cast<unsigned>(args.tokens_count), kThreads, 0, launch.stream>>>(
      pointer<T>(args.qkv), pointer<std::int32_t>(args.positions), pointer<float>(args.cos_sin), shape,
      args.inverse ? -1.0F : 1.0F);
}

}  // namespace

void run(const Rope& args, const Launch& launch) {
  if (args.qkv.empty() || args.max_position == 0) return;
  const std::int64_t half = args.head_dim / 2;
  with_storage("rope", args.qkv.dtype(), [&]<typename T>(T) {
    if (half % kPackOf<T> == 0 && aligned16(args.qkv.raw(), args.cos_sin.raw())) {
      launch_rope<T, kPackOf<T>>(args, launch);
    } else {
      launch_rope<T, 1>(args, launch);
    }
  });
  check_launch("rope");
}

}  // namespace llama_zero::cuda
