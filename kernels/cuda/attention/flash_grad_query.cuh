// Flash attention, backward, gradient of the queries: Dao, "FlashAttention-2", 2023, algorithm 2, in the order of the
// forward.
//
// One block has a tile of query tokens of one head and walks over the keys that they see, so that it alone sums dQ, in
// registers and in a fixed order: no atomics, no scratch. The price is that S = Q K^T and dP = dO V^T are computed here
// and again for dK and dV: seven products in place of five. It runs first, and leaves delta = rowsum(dO * O) behind.
#pragma once

#include "kernels/cuda/attention/flash_call.cuh"
#include "kernels/cuda/attention/flash_tile.cuh"

namespace llama_zero::cuda {

/// What a row needs besides its numbers.
struct QueryRow {
  int first_visible;
  float log2_sum;  ///< log_sum_exp to base 2
  float delta;
};

/// delta of the tile's rows, from dO in shared memory and O in memory; eight threads a row.
template <typename T, int kWidth, int kRows, int kThreads>
__device__ __forceinline__ void tile_delta(const FlashCall<T>& call, int first, int head,
                                           const unsigned char* grad_output, QueryRow* rows) {
  constexpr int kStep = kThreads / 8;
  const int part = static_cast<int>(threadIdx.x) % 8;
#pragma unroll 4
  for (int row = static_cast<int>(threadIdx.x) / 8; row < kRows; row += kStep) {
    const int token = first + row;
    float sum = 0.0F;
    if (token < call.attended) {
      const T* output = call.output + token * call.output_stride() + call.query_column(head);
#pragma unroll
      for (int chunk = part; chunk < kWidth / 8; chunk += 8) {
        if (chunk * 8 >= call.head_dim) continue;
        float o[8];
        float g[8];
        load<T, 8>(output + chunk * 8, o);
        load<T, 8>(reinterpret_cast<const T*>(grad_output + row * kRowBytes<kWidth> + ((chunk ^ (row % 8)) << 4)), g);
#pragma unroll
        for (int i = 0; i < 8; ++i) sum = fmaf(o[i], g[i], sum);
      }
    }
#pragma unroll
    for (int distance = 4; distance > 0; distance /= 2) sum += __shfl_xor_sync(0xffffffffU, sum, distance);
    if (part == 0) {
      rows[row].delta = sum;
      if (token < call.attended) call.delta[call.statistic(head, token)] = sum;
    }
  }
}

/// From scores and dP to dS = P * (dP - delta), in place of dP; P = 2^(factor * score - log2_sum). `rows` begins with
/// the thread's first row, whose token is `row`.
template <bool kMasked, int kM, int kN>
__device__ __forceinline__ void score_gradients(const Accumulator (&scores)[kM][kN], Accumulator (&grad)[kM][kN],
                                                const QueryRow* rows, float factor, int row, int key) {
#pragma unroll
  for (int m = 0; m < kM; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const QueryRow my = rows[m * 16 + half * 8];
#pragma unroll
      for (int n = 0; n < kN; ++n) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          float power = power_of_two(fmaf(scores[m][n][2 * half + i], factor, -my.log2_sum));
          if constexpr (kMasked) {
            const int k = key + n * 8 + i;
            if (k > row + m * 16 + half * 8 || k < my.first_visible) power = 0.0F;
          }
          grad[m][n][2 * half + i] = power * (grad[m][n][2 * half + i] - my.delta);
        }
      }
    }
  }
}

template <typename T, typename Tile>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks) flash_grad_query_kernel(const FlashCall<T> call) {
  constexpr int kWidth = Tile::kWidth, kM = Tile::kM, kKeys = Tile::kKeys, kRows = Tile::kRows, kSub = Tile::kSub;
  extern __shared__ __align__(128) unsigned char shared[];
  const std::uint32_t queries = shared_address(shared);
  const std::uint32_t grads = queries + Tile::kQueryBytes;
  const std::uint32_t stages = grads + Tile::kQueryBytes;
  QueryRow* rows = reinterpret_cast<QueryRow*>(shared + 2 * Tile::kQueryBytes + 4 * Tile::kKeyBytes);

  const int first = static_cast<int>(gridDim.x - 1 - blockIdx.x) * kRows;
  const int head = static_cast<int>(blockIdx.y);
  const int kv_head = head / call.group();
  const std::int64_t stride = call.qkv_stride();
  const T* key_head = call.qkv + call.key_column(kv_head);
  const T* value_head = call.qkv + call.value_column(kv_head);
  const LaneOffset<kWidth> offset(static_cast<int>(threadIdx.x) % 32);

  load_tile_async<kWidth, kRows, Tile::kThreads>(grads, call.grad_output + call.query_column(head),
                                                 call.output_stride(), first, call.attended, call.head_dim);
  load_tile_async<kWidth, kRows, Tile::kThreads>(queries, call.qkv + call.query_column(head), stride, first,
                                                 call.attended, call.head_dim);
  commit_copies();
  for (int row = static_cast<int>(threadIdx.x); row < kRows; row += Tile::kThreads) {
    const int token = first + row;
    rows[row].first_visible = call.first_visible(token);
    rows[row].log2_sum = token < call.attended ? call.log_sum_exp[call.statistic(head, token)] * kLog2E : 0.0F;
  }
  __syncthreads();
  const int end = min(first + kRows, call.attended);
  const int begin = first < call.attended ? rows[0].first_visible / kKeys * kKeys : end;
  const auto load_stage = [&](int key, int stage) {
    const std::uint32_t to = stages + static_cast<std::uint32_t>(stage * 2 * Tile::kKeyBytes);
    load_tile_async<kWidth, kKeys, Tile::kThreads>(to, key_head, stride, key, end, call.head_dim);
    load_tile_async<kWidth, kKeys, Tile::kThreads>(to + Tile::kKeyBytes, value_head, stride, key, end, call.head_dim);
  };
  if (begin < end) load_stage(begin, 0);
  commit_copies();
  wait_for_copies<1>();
  __syncthreads();
  tile_delta<T, kWidth, kRows, Tile::kThreads>(call, first, head, shared + Tile::kQueryBytes, rows);
  __syncthreads();

  const float factor = call.scale * kLog2E;
  Accumulator result[kM][kWidth / 8];
  clear(result);

  int stage = 0;
  for (int tile_key = begin; tile_key < end; tile_key += kKeys, stage ^= 1) {
    wait_for_copies<0>();
    __syncthreads();
    if (tile_key + kKeys < end) load_stage(tile_key + kKeys, stage ^ 1);
    commit_copies();
#pragma unroll 1
    for (int sub = 0; sub < kKeys; sub += kSub) {
      const int key = tile_key + sub;
      const int thread = thread_now();
      const int warp_row = thread / 32 * 16 * kM;
      const int lane = thread % 32;
      const int first_row = first + warp_row;
      const QueryRow* warp_rows = rows + warp_row;
      if (key > first_row + 16 * kM - 1 || key + kSub <= warp_rows[0].first_visible) continue;
      const auto row_bytes = static_cast<std::uint32_t>(warp_row * kRowBytes<kWidth>);
      const std::uint32_t keys =
          stages + static_cast<std::uint32_t>(stage * 2 * Tile::kKeyBytes + sub * kRowBytes<kWidth>);
      Accumulator scores[kM][kSub / 8];
      Accumulator grad_scores[kM][kSub / 8];
      multiply_rows<T>(scores, queries + row_bytes, keys, offset);
      multiply_rows<T>(grad_scores, grads + row_bytes, keys + Tile::kKeyBytes, offset);
      const QueryRow* my_rows = warp_rows + lane / 4;
      const int row = first_row + lane / 4;
      const int column = key + lane % 4 * 2;
      if (key + kSub - 1 > first_row || key < warp_rows[16 * kM - 1].first_visible) {
        score_gradients<true>(scores, grad_scores, my_rows, factor, row, column);
      } else {
        score_gradients<false>(scores, grad_scores, my_rows, factor, row, column);
      }
      Fragment weights[kM][kSub / 16];
      to_fragments<T>(grad_scores, weights);
      multiply_columns<T>(result, weights, keys, offset);
    }
  }

#pragma unroll
  for (int m = 0; m < kM; ++m) {
#pragma unroll
    for (int n = 0; n < kWidth / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) result[m][n][i] *= call.scale;
    }
  }
  const int warp_row = static_cast<int>(threadIdx.x) / 32 * 16 * kM;
  const int first_row = first + warp_row;
  const Destination<T> to{call.result + first_row * stride + call.query_column(head), stride, call.tokens - first_row,
                          call.head_dim};
  store_rows<T, kWidth>(result, shared + warp_row * kRowBytes<kWidth>, 0, static_cast<int>(threadIdx.x) % 32, to);
}

}  // namespace llama_zero::cuda
