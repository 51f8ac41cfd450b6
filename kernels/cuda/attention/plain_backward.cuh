// Plain attention, backward (Dao et al., FlashAttention, 2022, algorithm 4), without atomics: one kernel owns the
// gradient of a tile of keys and values, another that of a tile of queries; both recompute the probabilities.
#pragma once

#include "kernels/cuda/attention/plain.cuh"

namespace llama_zero::cuda {

/// Shared memory of both kernels: four tiles and two squares of scores.
inline std::size_t plain_backward_shared(int head_dim) {
  return sizeof(float) * static_cast<std::size_t>(4 * kTile * tile_stride(head_dim) + 2 * kTile * kScoreStride);
}

/// delta[head, token] = sum of grad_output * output over the head; a warp each.
template <typename T>
__global__ void __launch_bounds__(kTileThreads) plain_delta_kernel(const PlainAttention<T> args, float* delta) {
  const std::int64_t pair =
      static_cast<std::int64_t>(blockIdx.x) * (kTileThreads / 32) + static_cast<int>(threadIdx.x) / 32;
  if (pair >= static_cast<std::int64_t>(args.attended) * args.query_heads) return;
  const std::int64_t token = pair / args.query_heads;
  const std::int64_t head = pair % args.query_heads;
  const std::int64_t offset = token * args.output_stride() + head * args.head_dim;
  float sum = 0.0F;
  for (int i = static_cast<int>(threadIdx.x) % 32; i < args.head_dim; i += 32) {
    sum = fmaf(to_float(args.grad_output[offset + i]), to_float(args.output[offset + i]), sum);
  }
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2) sum += __shfl_xor_sync(0xffffffffU, sum, lanes);
  if (threadIdx.x % 32 == 0) delta[head * args.tokens + token] = sum;
}

/// Probability and gradient of one scaled score; zeros where the query does not see the key.
template <typename T>
struct ScoreGradient {
  float probability = 0.0F;
  float grad_score = 0.0F;

  __device__ __forceinline__ ScoreGradient(const PlainAttention<T>& args, int head, int query, bool visible,
                                           float product, float grad_probability) {
    if (!visible) return;
    const std::int64_t at = static_cast<std::int64_t>(head) * args.tokens + query;
    probability = expf(product * args.scale - args.log_sum_exp[at]);
    grad_score = probability * (grad_probability - args.delta[at]) * args.scale;
  }
};

/// Gradient of a tile of keys and values of one kv head: its query heads follow one another, so the order is fixed.
template <typename T, int kDim>
__global__ void __launch_bounds__(kTileThreads) plain_key_value_kernel(const PlainAttention<T> args) {
  extern __shared__ float shared[];
  const int dim = args.head_dim;
  const int tile = kTile * tile_stride(dim);
  float* keys = shared;
  float* values = keys + tile;
  float* queries = values + tile;
  float* grad_output = queries + tile;
  float* probabilities = grad_output + tile;
  float* grad_scores = probabilities + kTile * kScoreStride;
  const int row = static_cast<int>(threadIdx.x) / kColumns;
  const int column = static_cast<int>(threadIdx.x) % kColumns;
  const int kv_head = static_cast<int>(blockIdx.y);
  const int group = args.query_heads / args.kv_heads;
  const int first = static_cast<int>(blockIdx.x) * kTile;
  const int key = first + row;
  RowShare<kDim> grad_key;
  RowShare<kDim> grad_value;

  if (first < args.attended) {
    const int last_key = min(first + kTile, args.attended) - 1;
    const int key_end = key < args.attended ? document_of(args.cu_seqlens, args.documents, key).end : 0;
    const int queries_end = document_of(args.cu_seqlens, args.documents, last_key).end;
    load_tile(args.qkv + args.key_column(kv_head), args.qkv_stride(), first, args.attended, dim, args.aligned, keys);
    load_tile(args.qkv + args.value_column(kv_head), args.qkv_stride(), first, args.attended, dim, args.aligned,
              values);
    for (int head = kv_head * group; head < (kv_head + 1) * group; ++head) {
      for (int query = first; query < queries_end; query += kTile) {
        load_tile(args.qkv + head * dim, args.qkv_stride(), query, queries_end, dim, args.aligned, queries);
        load_tile(args.grad_output + head * dim, args.output_stride(), query, queries_end, dim, args.aligned,
                  grad_output);
        __syncthreads();
        float products[kPerColumn];
        float grad_products[kPerColumn];
        dot_rows(keys, queries, row, column, dim, products);
        dot_rows(values, grad_output, row, column, dim, grad_products);
#pragma unroll
        for (int j = 0; j < kPerColumn; ++j) {
          const int q = query + column + kColumns * j;
          const ScoreGradient<T> score(args, head, q, q >= key && q < key_end, products[j], grad_products[j]);
          probabilities[row * kScoreStride + column + kColumns * j] = score.probability;
          grad_scores[row * kScoreStride + column + kColumns * j] = score.grad_score;
        }
        __syncwarp();
        grad_value.add_product(probabilities + row * kScoreStride, grad_output, column, dim);
        grad_key.add_product(grad_scores + row * kScoreStride, queries, column, dim);
        __syncthreads();
      }
    }
  }
  if (key >= args.tokens) return;
  T* to = args.result + key * args.qkv_stride();
  grad_key.write(to + args.key_column(kv_head), column, dim);
  grad_value.write(to + args.value_column(kv_head), column, dim);
}

/// Gradient of a tile of queries of one head.
template <typename T, int kDim>
__global__ void __launch_bounds__(kTileThreads) plain_query_kernel(const PlainAttention<T> args) {
  extern __shared__ float shared[];
  const int dim = args.head_dim;
  const int tile = kTile * tile_stride(dim);
  float* queries = shared;
  float* grad_output = queries + tile;
  float* keys = grad_output + tile;
  float* values = keys + tile;
  float* grad_scores = values + tile;
  const int row = static_cast<int>(threadIdx.x) / kColumns;
  const int column = static_cast<int>(threadIdx.x) % kColumns;
  const int head = static_cast<int>(blockIdx.y);
  const int kv_head = args.kv_head_of(head);
  const int first = static_cast<int>(blockIdx.x) * kTile;
  const int token = first + row;
  RowShare<kDim> grad_query;

  if (first < args.attended) {
    const bool valid = token < args.attended;
    const int start = valid ? document_of(args.cu_seqlens, args.documents, token).first : args.tokens;
    const int keys_end = min(first + kTile, args.attended);
    load_tile(args.qkv + head * dim, args.qkv_stride(), first, args.attended, dim, args.aligned, queries);
    load_tile(args.grad_output + head * dim, args.output_stride(), first, args.attended, dim, args.aligned,
              grad_output);
    for (int key = document_of(args.cu_seqlens, args.documents, first).first; key < keys_end; key += kTile) {
      load_tile(args.qkv + args.key_column(kv_head), args.qkv_stride(), key, keys_end, dim, args.aligned, keys);
      load_tile(args.qkv + args.value_column(kv_head), args.qkv_stride(), key, keys_end, dim, args.aligned, values);
      __syncthreads();
      float products[kPerColumn];
      float grad_products[kPerColumn];
      dot_rows(queries, keys, row, column, dim, products);
      dot_rows(grad_output, values, row, column, dim, grad_products);
#pragma unroll
      for (int j = 0; j < kPerColumn; ++j) {
        const int k = key + column + kColumns * j;
        const ScoreGradient<T> score(args, head, token, valid && k >= start && k <= token, products[j],
                                     grad_products[j]);
        grad_scores[row * kScoreStride + column + kColumns * j] = score.grad_score;
      }
      __syncwarp();
      grad_query.add_product(grad_scores + row * kScoreStride, keys, column, dim);
      __syncthreads();
    }
  }
  if (token >= args.tokens) return;
  grad_query.write(args.result + token * args.qkv_stride() + head * dim, column, dim);
}

}  // namespace llama_zero::cuda
