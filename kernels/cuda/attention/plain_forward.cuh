// Plain attention, forward: online softmax over tiles of keys (Milakov and Gimelshein 2018), one block a query tile and
// head.
#pragma once

#include "kernels/cuda/attention/plain.cuh"

namespace llama_zero::cuda {

/// Shared memory of the forward kernel: queries, keys, values, powers.
inline std::size_t plain_forward_shared(int head_dim) {
  return sizeof(float) * static_cast<std::size_t>(3 * kTile * tile_stride(head_dim) + kTile * kScoreStride);
}

/// kDim: an upper bound of head_dim. A tile may hold several documents: each row masks by its own.
template <typename T, int kDim>
__global__ void __launch_bounds__(kTileThreads) plain_forward_kernel(const PlainAttention<T> args) {
  extern __shared__ float shared[];
  const int dim = args.head_dim;
  float* queries = shared;
  float* keys = queries + kTile * tile_stride(dim);
  float* values = keys + kTile * tile_stride(dim);
  float* powers = values + kTile * tile_stride(dim);
  const int row = static_cast<int>(threadIdx.x) / kColumns;
  const int column = static_cast<int>(threadIdx.x) % kColumns;
  const int head = static_cast<int>(blockIdx.y);
  const int kv_head = args.kv_head_of(head);
  const int first = static_cast<int>(blockIdx.x) * kTile;
  const int token = first + row;
  const bool valid = token < args.attended;
  RowShare<kDim> result;
  float max = -INFINITY;
  float sum = 0.0F;

  if (first < args.attended) {
    load_tile(args.qkv + head * dim, args.qkv_stride(), first, args.attended, dim, args.aligned, queries);
    const int start = valid ? document_of(args.cu_seqlens, args.documents, token).first : args.tokens;
    const int keys_end = min(first + kTile, args.attended);
    for (int key = document_of(args.cu_seqlens, args.documents, first).first; key < keys_end; key += kTile) {
      load_tile(args.qkv + args.key_column(kv_head), args.qkv_stride(), key, keys_end, dim, args.aligned, keys);
      load_tile(args.qkv + args.value_column(kv_head), args.qkv_stride(), key, keys_end, dim, args.aligned, values);
      __syncthreads();
      float scores[kPerColumn];
      dot_rows(queries, keys, row, column, dim, scores);
      float tile_max = -INFINITY;
#pragma unroll
      for (int j = 0; j < kPerColumn; ++j) {
        const int k = key + column + kColumns * j;
        scores[j] = k >= start && k <= token && valid ? scores[j] * args.scale : -INFINITY;
        tile_max = fmaxf(tile_max, scores[j]);
      }
      const float new_max = fmaxf(max, row_max(tile_max));
      const float rescale = max == -INFINITY ? 0.0F : expf(max - new_max);
      float tile_sum = 0.0F;
#pragma unroll
      for (int j = 0; j < kPerColumn; ++j) {
        const float power = scores[j] == -INFINITY ? 0.0F : expf(scores[j] - new_max);
        powers[row * kScoreStride + column + kColumns * j] = power;
        tile_sum += power;
      }
      sum = sum * rescale + row_sum(tile_sum);
      max = new_max;
      __syncwarp();  // a row's powers are written and read by the same warp
      result.scale(rescale);
      result.add_product(powers + row * kScoreStride, values, column, dim);
      __syncthreads();
    }
  }
  if (token >= args.tokens) return;
  if (valid) result.scale(1.0F / sum);
  result.write(args.result + token * args.output_stride() + head * dim, column, dim);
  if (column == 0) {
    args.log_sum_exp_out[static_cast<std::int64_t>(head) * args.tokens + token] = valid ? max + logf(sum) : 0.0F;
  }
}

}  // namespace llama_zero::cuda
