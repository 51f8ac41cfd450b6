// What the plain attention kernels share: tiles of 32 tokens as fp32 in shared memory, where documents begin and end.
#pragma once

#include <cstdint>

#include "kernels/cuda/pack.cuh"

namespace llama_zero::cuda {

inline constexpr int kTile = 32;          // tokens of a tile, queries or keys
inline constexpr int kTileThreads = 256;  // thread (row, column) = (id / 8, id % 8)
inline constexpr int kColumns = 8;        // threads that share a row of a tile
inline constexpr int kPerColumn = kTile / kColumns;
inline constexpr int kScoreStride = kTile + 1;

/// Floats between rows of a tile: the odd multiple of 4 keeps 16-byte reads of eight rows in different banks.
__host__ __device__ constexpr int tile_stride(int head_dim) { return head_dim + 4; }

struct TokenRange {
  int first, end;
};

/// The document that holds `token`.
__device__ inline TokenRange document_of(const std::int32_t* cu_seqlens, int documents, int token) {
  int low = 0;
  int high = documents;
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    if (cu_seqlens[middle] <= token) {
      low = middle;
    } else {
      high = middle;
    }
  }
  return {cu_seqlens[low], cu_seqlens[low + 1]};
}

/// Eight neighbouring numbers from any address that T allows.
template <typename T>
__device__ __forceinline__ void load_eight(const T* from, bool aligned, float (&x)[8]) {
  if (aligned) {
    load<T, 8>(from, x);
  } else {
#pragma unroll
    for (int i = 0; i < 8; ++i) x[i] = to_float(from[i]);
  }
}

/// Rows [first, first + 32) of one head, `stride` elements apart in memory, as fp32; rows from `end` on are zeros.
template <typename T>
__device__ __forceinline__ void load_tile(const T* head, std::int64_t stride, int first, int end, int head_dim,
                                          bool aligned, float* tile) {
  const int parts = head_dim / 8;
  for (int i = static_cast<int>(threadIdx.x); i < kTile * parts; i += kTileThreads) {
    const int row = i / parts;
    const int column = i % parts * 8;
    float x[8] = {};
    if (first + row < end) load_eight(head + (first + row) * stride + column, aligned, x);
    auto* to = reinterpret_cast<float4*>(tile + row * tile_stride(head_dim) + column);
    to[0] = make_float4(x[0], x[1], x[2], x[3]);
    to[1] = make_float4(x[4], x[5], x[6], x[7]);
  }
}

/// Products of row `row` of tile a with rows column, column + 8, ... of tile b.
__device__ __forceinline__ void dot_rows(const float* a, const float* b, int row, int column, int head_dim,
                                         float (&products)[kPerColumn]) {
  const int stride = tile_stride(head_dim);
#pragma unroll
  for (int j = 0; j < kPerColumn; ++j) products[j] = 0.0F;
  for (int d = 0; d < head_dim; d += 4) {
    const float4 x = *reinterpret_cast<const float4*>(a + row * stride + d);
#pragma unroll
    for (int j = 0; j < kPerColumn; ++j) {
      const float4 y = *reinterpret_cast<const float4*>(b + (column + kColumns * j) * stride + d);
      products[j] = fmaf(x.x, y.x, products[j]);
      products[j] = fmaf(x.y, y.y, products[j]);
      products[j] = fmaf(x.z, y.z, products[j]);
      products[j] = fmaf(x.w, y.w, products[j]);
    }
  }
}

/// A thread's share of a row of results: columns 4 * column + 32 * m + 0 .. 3.
template <int kDim>
struct RowShare {
  float4 values[kDim / 32] = {};

  __device__ __forceinline__ void scale(float factor) {
#pragma unroll
    for (float4& v : values) {
      v.x *= factor;
      v.y *= factor;
      v.z *= factor;
      v.w *= factor;
    }
  }

  /// += weights[0 .. 31] * tile
  __device__ __forceinline__ void add_product(const float* weights, const float* tile, int column, int head_dim) {
    const int stride = tile_stride(head_dim);
    for (int k = 0; k < kTile; ++k) {
      const float w = weights[k];
#pragma unroll
      for (int m = 0; m < kDim / 32; ++m) {
        const int at = 4 * column + 32 * m;
        if (at < head_dim) {
          const float4 x = *reinterpret_cast<const float4*>(tile + k * stride + at);
          values[m].x = fmaf(w, x.x, values[m].x);
          values[m].y = fmaf(w, x.y, values[m].y);
          values[m].z = fmaf(w, x.z, values[m].z);
          values[m].w = fmaf(w, x.w, values[m].w);
        }
      }
    }
  }

  template <typename T>
  __device__ __forceinline__ void write(T* row, int column, int head_dim) const {
#pragma unroll
    for (int m = 0; m < kDim / 32; ++m) {
      const int at = 4 * column + 32 * m;
      if (at < head_dim) {
        row[at] = from_float<T>(values[m].x);
        row[at + 1] = from_float<T>(values[m].y);
        row[at + 2] = from_float<T>(values[m].z);
        row[at + 3] = from_float<T>(values[m].w);
      }
    }
  }
};

/// Sum and maximum over the eight threads of a row.
__device__ __forceinline__ float row_sum(float x) {
#pragma unroll
  for (int offset = kColumns / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(0xffffffffU, x, offset);
  return x;
}
__device__ __forceinline__ float row_max(float x) {
#pragma unroll
  for (int offset = kColumns / 2; offset > 0; offset /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffU, x, offset));
  return x;
}

/// One call, forward or backward, as the kernels see it.
template <typename T>
struct PlainAttention {
  const T* qkv;
  const T* output;       ///< backward: an input
  const T* grad_output;  ///< backward
  const float* log_sum_exp;
  const float* delta;  ///< backward: [Hq, T] sum of grad_output * output over the head
  T* result;           ///< output, or grad_qkv
  float* log_sum_exp_out;
  const std::int32_t* cu_seqlens;
  int documents, tokens, attended;
  int query_heads, kv_heads, head_dim;
  float scale;
  bool aligned;

  __device__ std::int64_t qkv_stride() const {
    return static_cast<std::int64_t>(query_heads + 2 * kv_heads) * head_dim;
  }
  __device__ std::int64_t output_stride() const { return static_cast<std::int64_t>(query_heads) * head_dim; }
  __device__ int kv_head_of(int head) const { return head / (query_heads / kv_heads); }
  __device__ int key_column(int kv_head) const { return (query_heads + kv_head) * head_dim; }
  __device__ int value_column(int kv_head) const { return (query_heads + kv_heads + kv_head) * head_dim; }
};

}  // namespace llama_zero::cuda
