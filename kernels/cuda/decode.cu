// Generation: filling key-value caches after a prefill, and attention of one new token a sequence against its cache.
#include <algorithm>
#include <cmath>

#include "kernels/cuda/block.cuh"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/pack.cuh"

namespace llama_zero::cuda {
namespace {

constexpr int kCopyThreads = 128;

/// A block a token. Caches take documents in their order, attended ones only.
template <typename Unit>
__global__ void __launch_bounds__(kCopyThreads)
    store_key_value_kernel(const Unit* qkv, const std::int32_t* cu_seqlens, int documents, int query_units,
                           int kv_units, std::int64_t capacity, Unit* key_cache, Unit* value_cache) {
  const int token = static_cast<int>(blockIdx.x);
  int low = 0;
  int high = documents;  // the last document that starts at or before the token; empty ones start where the next does
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    if (cu_seqlens[middle] <= token) {
      low = middle;
    } else {
      high = middle;
    }
  }
  const std::int64_t slot = low * capacity + (token - cu_seqlens[low]);
  const Unit* key = qkv + static_cast<std::int64_t>(token) * (query_units + 2 * kv_units) + query_units;
  for (int i = static_cast<int>(threadIdx.x); i < kv_units; i += kCopyThreads) {
    key_cache[slot * kv_units + i] = key[i];
    value_cache[slot * kv_units + i] = key[kv_units + i];
  }
}

template <typename Unit>
void store_key_value(const StoreKeyValue& args, const Launch& launch) {
  const auto per_unit = static_cast<std::int64_t>(sizeof(Unit) / size_of(args.qkv.dtype()));
  store_key_value_kernel<Unit>
      <<<static_cast<unsigned>(args.documents.attended_tokens), kCopyThreads, 0, launch.stream>>>(
          pointer<Unit>(args.qkv), pointer<std::int32_t>(args.documents.cu_seqlens),
          static_cast<int>(args.documents.host_cu_seqlens.size()) - 1,
          static_cast<int>(args.query_heads * args.head_dim / per_unit),
          static_cast<int>(args.kv_heads * args.head_dim / per_unit), args.capacity, pointer<Unit>(args.key_cache),
          pointer<Unit>(args.value_cache));
}

template <typename T>
struct Decode {
  const T* qkv;
  const std::int32_t* lengths;
  T* key_cache;
  T* value_cache;
  T* output;
  int query_heads, kv_heads, head_dim;
  std::int64_t capacity;
  float scale;
};

constexpr int kWarps = 8;
constexpr int kSlotsAhead = 4;  // keys that a warp loads at a time

/// Running softmax of a warp: the lane's share of sum(e^(score - max) * value), and the sum of the powers.
template <int kPerLane>
struct Running {
  float max = -INFINITY;
  float sum = 0.0F;
  float values[kPerLane] = {};
};

/// Lane l holds elements l, l + 32, ... of the head. A block a query head and sequence; its warps share out the slots
/// and are merged in order. The new token's key and value are read from qkv, so that no block waits for another's
/// append.
template <typename T, int kPerLane>
__global__ void __launch_bounds__(kWarps * 32) decode_kernel(const Decode<T> args) {
  __shared__ float merged_values[kWarps][kPerLane * 32];
  __shared__ float merged_max[kWarps];
  __shared__ float merged_sum[kWarps];
  const int head = static_cast<int>(blockIdx.x);
  const std::int64_t sequence = blockIdx.y;
  const int group = args.query_heads / args.kv_heads;
  const int kv_head = head / group;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int dim = args.head_dim;
  const std::int64_t length = args.lengths[sequence];
  const std::int64_t stride = static_cast<std::int64_t>(args.kv_heads) * dim;
  const std::int64_t cache = sequence * args.capacity * stride + kv_head * dim;
  const T* token = args.qkv + sequence * (args.query_heads + 2 * args.kv_heads) * dim;
  const T* new_key = token + (args.query_heads + kv_head) * dim;
  const T* new_value = new_key + stride;

  float query[kPerLane];
#pragma unroll
  for (int j = 0; j < kPerLane; ++j) {
    const int i = lane + 32 * j;
    query[j] = i < dim ? to_float(token[head * dim + i]) * args.scale : 0.0F;
    if (i < dim && warp == 0 && head % group == 0) {
      args.key_cache[cache + length * stride + i] = new_key[i];
      args.value_cache[cache + length * stride + i] = new_value[i];
    }
  }

  Running<kPerLane> running;
  for (std::int64_t first = warp * kSlotsAhead; first <= length; first += kWarps * kSlotsAhead) {
    float score[kSlotsAhead];
    float value[kSlotsAhead][kPerLane];
#pragma unroll
    for (int a = 0; a < kSlotsAhead; ++a) {
      const std::int64_t slot = first + a;
      const T* key = slot == length ? new_key : args.key_cache + cache + slot * stride;
      const T* values = slot == length ? new_value : args.value_cache + cache + slot * stride;
      score[a] = 0.0F;
#pragma unroll
      for (int j = 0; j < kPerLane; ++j) {
        const bool inside = lane + 32 * j < dim && slot <= length;
        score[a] = fmaf(query[j], inside ? to_float(key[lane + 32 * j]) : 0.0F, score[a]);
        value[a][j] = inside ? to_float(values[lane + 32 * j]) : 0.0F;
      }
    }
    float max = running.max;
#pragma unroll
    for (int a = 0; a < kSlotsAhead; ++a) {
      score[a] = first + a <= length ? warp_sum(score[a]) : -INFINITY;
      max = fmaxf(max, score[a]);
    }
    const float rescale = expf(running.max - max);
    running.max = max;
    running.sum *= rescale;
#pragma unroll
    for (int j = 0; j < kPerLane; ++j) running.values[j] *= rescale;
#pragma unroll
    for (int a = 0; a < kSlotsAhead; ++a) {
      const float power = expf(score[a] - max);
      running.sum += power;
#pragma unroll
      for (int j = 0; j < kPerLane; ++j) running.values[j] = fmaf(power, value[a][j], running.values[j]);
    }
  }

  if (lane == 0) {
    merged_max[warp] = running.max;
    merged_sum[warp] = running.sum;
  }
#pragma unroll
  for (int j = 0; j < kPerLane; ++j) merged_values[warp][lane + 32 * j] = running.values[j];
  __syncthreads();
  float max = -INFINITY;
#pragma unroll
  for (int w = 0; w < kWarps; ++w) max = fmaxf(max, merged_max[w]);
  for (int i = static_cast<int>(threadIdx.x); i < dim; i += kWarps * 32) {
    float sum = 0.0F;
    float value = 0.0F;
#pragma unroll
    for (int w = 0; w < kWarps; ++w) {
      const float factor = expf(merged_max[w] - max);  // 0 for a warp without slots
      sum = fmaf(merged_sum[w], factor, sum);
      value = fmaf(merged_values[w][i], factor, value);
    }
    args.output[(sequence * args.query_heads + head) * dim + i] = from_float<T>(value / sum);
  }
}

template <typename T, int kPerLane>
void launch_decode(const Decode<T>& decode, std::int64_t batch, const Launch& launch) {
  const dim3 blocks(static_cast<unsigned>(decode.query_heads), static_cast<unsigned>(batch));
  decode_kernel<T, kPerLane><<<blocks, kWarps * 32, 0, launch.stream>>>(decode);
}

}  // namespace

void run(const StoreKeyValue& args, const Launch& launch) {
  if (args.documents.attended_tokens == 0) return;
  const bool vectorised = aligned16(args.qkv.raw(), args.key_cache.raw(), args.value_cache.raw());
  if (vectorised) {  // head_dim is a multiple of 8: heads are whole 16-byte units in every dtype
    store_key_value<uint4>(args, launch);
  } else {
    with_storage("store_key_value", args.qkv.dtype(), [&]<typename T>(T) { store_key_value<T>(args, launch); });
  }
  check_launch("store_key_value");
}

void run(const AttentionDecode& args, const Launch& launch) {
  if (args.batch == 0) return;
  with_storage("attention_decode", args.qkv.dtype(), [&]<typename T>(T) {
    const Decode<T> decode{pointer<T>(args.qkv),
                           pointer<std::int32_t>(args.lengths),
                           pointer<T>(args.key_cache),
                           pointer<T>(args.value_cache),
                           pointer<T>(args.output),
                           static_cast<int>(args.query_heads),
                           static_cast<int>(args.kv_heads),
                           static_cast<int>(args.head_dim),
                           args.capacity,
                           static_cast<float>(args.scale)};
    if (args.head_dim <= 64) {
      launch_decode<T, 2>(decode, args.batch, launch);
    } else if (args.head_dim <= 128) {
      launch_decode<T, 4>(decode, args.batch, launch);
    } else {
      launch_decode<T, 8>(decode, args.batch, launch);
    }
  });
  check_launch("attention_decode");
}

}  // namespace llama_zero::cuda
