// Flash attention, backward, gradients of keys and values: Dao, "FlashAttention-2", 2023, algorithm 2, without dQ.
//
// One block has a tile of key tokens of one key-value head and walks over the query heads of its group and, for each,
// over the queries that see the keys: dK and dV are summed in registers by one block, in a fixed order. Scores are
// computed transposed, S^T = K Q^T, so that the accumulators of S^T and dP^T, rounded, are the left operands of
// dV += P^T dO and dK += dS^T Q. With head_dim 128 the two gradients of 32 keys fill the registers of two warps: each
// holds half of the columns and scores half of the queries, and hands its P and dS to the other through shared memory.
#pragma once

#include "kernels/cuda/attention/flash_call.cuh"
#include "kernels/cuda/attention/flash_tile.cuh"

namespace llama_zero::cuda {

/// From transposed scores to P^T; `log_sums` begins with the thread's first query, `end_of_sight` with its
/// first key.
template <bool kMasked, int kM, int kN>
__device__ __forceinline__ void transposed_probabilities(Accumulator (&scores)[kM][kN], const float* log_sums,
                                                         const int* end_of_sight, float factor, int key, int query) {
#pragma unroll
  for (int n = 0; n < kN; ++n) {
    const float2 log_sum = *reinterpret_cast<const float2*>(log_sums + n * 8);
#pragma unroll
    for (int m = 0; m < kM; ++m) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float base = (i % 2 == 0 ? log_sum.x : log_sum.y) * kLog2E;
        float power = power_of_two(fmaf(scores[m][n][i], factor, -base));
        if constexpr (kMasked) {
          const int q = query + n * 8 + i % 2;
          if (q < key + m * 16 + i / 2 * 8 || q >= end_of_sight[m * 16 + i / 2 * 8]) power = 0.0F;
        }
        scores[m][n][i] = power;
      }
    }
  }
}

/// dS^T = P^T * (dP^T - delta), in place of dP^T.
template <int kM, int kN>
__device__ __forceinline__ void transposed_gradients(const Accumulator (&powers)[kM][kN], Accumulator (&grad)[kM][kN],
                                                     const float* deltas) {
#pragma unroll
  for (int n = 0; n < kN; ++n) {
    const float2 delta = *reinterpret_cast<const float2*>(deltas + n * 8);
#pragma unroll
    for (int m = 0; m < kM; ++m) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        grad[m][n][i] = powers[m][n][i] * (grad[m][n][i] - (i % 2 == 0 ? delta.x : delta.y));
      }
    }
  }
}

/// Fragments that a warp hands to the other of its pair: 16 bytes a lane, neighbours next to each other.
template <int kM, int kK>
__device__ __forceinline__ void hand_over(const Fragment (&fragments)[kM][kK], unsigned char* to, int lane) {
#pragma unroll
  for (int m = 0; m < kM; ++m) {
#pragma unroll
    for (int k = 0; k < kK; ++k) {
      const Fragment& f = fragments[m][k];
      reinterpret_cast<uint4*>(to)[(m * kK + k) * 32 + lane] = make_uint4(f[0], f[1], f[2], f[3]);
    }
  }
}
template <int kM, int kK>
__device__ __forceinline__ void take_over(Fragment (&fragments)[kM][kK], const unsigned char* from, int lane) {
#pragma unroll
  for (int m = 0; m < kM; ++m) {
#pragma unroll
    for (int k = 0; k < kK; ++k) {
      const uint4 f = reinterpret_cast<const uint4*>(from)[(m * kK + k) * 32 + lane];
      fragments[m][k][0] = f.x;
      fragments[m][k][1] = f.y;
      fragments[m][k][2] = f.z;
      fragments[m][k][3] = f.w;
    }
  }
}

/// Queries of all heads of the group, tile by tile.
template <int kQueries>
struct QueryWalk {
  int head, query, stage = 0;
  int first, end;
  __device__ QueryWalk(int head_, int first_, int end_) : head(head_), query(first_), first(first_), end(end_) {}
  __device__ void advance() {
    query += kQueries;
    stage ^= 1;
    if (query < end) return;
    query = first;
    ++head;
  }
};

template <typename T, typename Tile>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks) flash_grad_key_value_kernel(const FlashCall<T> call) {
  constexpr int kWidth = Tile::kWidth, kM = Tile::kM, kRows = Tile::kRows, kSub = Tile::kSub;
  constexpr int kQueries = Tile::kQueries, kSplit = Tile::kSplit, kThreads = Tile::kThreads;
  extern __shared__ __align__(128) unsigned char shared[];
  unsigned char* handed = shared + 2 * Tile::kKeyBytes + 4 * Tile::kQueryBytes;
  unsigned char* statistics = handed + Tile::kGroups * kSplit * Tile::kHandedBytes;
  int* end_of_sight = reinterpret_cast<int*>(statistics + 2 * Tile::kStatisticBytes);
  const std::uint32_t keys = shared_address(shared);
  const std::uint32_t values = keys + Tile::kKeyBytes;
  const std::uint32_t stages = values + Tile::kKeyBytes;

  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int group = warp / kSplit;
  const int part = warp % kSplit;
  const int first = static_cast<int>(blockIdx.x) * kRows;  // early tiles have the most work: first
  const int kv_head = static_cast<int>(blockIdx.y);
  const std::int64_t stride = call.qkv_stride();
  const LaneOffset<kWidth> offset(lane);

  load_tile_async<kWidth, kRows, kThreads>(keys, call.qkv + call.key_column(kv_head), stride, first, call.attended,
                                           call.head_dim);
  load_tile_async<kWidth, kRows, kThreads>(values, call.qkv + call.value_column(kv_head), stride, first, call.attended,
                                           call.head_dim);
  for (int row = static_cast<int>(threadIdx.x); row < kRows; row += kThreads) {
    end_of_sight[row] = call.end_of_sight(first + row);
  }
  __syncthreads();
  const int last = min(first + kRows, call.attended) - 1;
  const int end = last < first ? first : end_of_sight[last - first];
  const int end_head = last < first ? 0 : (kv_head + 1) * call.group();

  const auto load_stage = [&](const QueryWalk<kQueries>& at) {
    const std::uint32_t to = stages + static_cast<std::uint32_t>(at.stage * 2 * Tile::kQueryBytes);
    load_tile_async<kWidth, kQueries, kThreads>(to, call.qkv + call.query_column(at.head), stride, at.query, end,
                                                call.head_dim);
    load_tile_async<kWidth, kQueries, kThreads>(to + Tile::kQueryBytes, call.grad_output + call.query_column(at.head),
                                                call.output_stride(), at.query, end, call.head_dim);
    const int i = static_cast<int>(threadIdx.x);
    if (i < 2 * kQueries) {
      const int token = at.query + i % kQueries;
      const float* from = i < kQueries ? call.log_sum_exp : call.delta;
      copy_4_async(shared_address(statistics + at.stage * Tile::kStatisticBytes + 4 * i),
                   token < end ? from + call.statistic(at.head, token) : from, token < end);
    }
  };
  QueryWalk<kQueries> next(kv_head * call.group(), first, end);
  if (next.head < end_head) load_stage(next);
  commit_copies();

  const int warp_row = group * 16 * kM;
  const int first_key = first + warp_row;
  // End of sight rises with the key, but padding keys, which come last, have none.
  const int warp_all = first_key + 16 * kM <= call.attended ? end_of_sight[warp_row] : 0;
  const int warp_end = first_key > last ? 0 : end_of_sight[min(warp_row + 16 * kM - 1, last - first)];
  const float factor = call.scale * kLog2E;
  const auto row_bytes = static_cast<std::uint32_t>(warp_row * kRowBytes<kWidth>);
  const auto column_bytes = static_cast<std::uint32_t>(part * Tile::kColumns * 2);
  unsigned char* mine = handed + warp * Tile::kHandedBytes;
  const unsigned char* others = handed + (warp ^ 1) * Tile::kHandedBytes;
  Accumulator grad_keys[kM][Tile::kColumns / 8];
  Accumulator grad_values[kM][Tile::kColumns / 8];
  clear(grad_keys);
  clear(grad_values);

  while (next.head < end_head) {
    const int tile_query = next.query;
    const std::uint32_t queries = stages + static_cast<std::uint32_t>(next.stage * 2 * Tile::kQueryBytes);
    const auto* log_sums = reinterpret_cast<const float*>(statistics + next.stage * Tile::kStatisticBytes);
    wait_for_copies<0>();
    __syncthreads();
    next.advance();
    if (next.head < end_head) load_stage(next);
    commit_copies();
#pragma unroll 1
    for (int sub = 0; sub < kQueries; sub += kSub * kSplit) {
      if (tile_query + sub + kSub * kSplit <= first_key || tile_query + sub >= warp_end) continue;  // the pair alike
      const int at = sub + part * kSub;
      const std::uint32_t my_queries = queries + static_cast<std::uint32_t>(at * kRowBytes<kWidth>);
      Accumulator scores[kM][kSub / 8];
      Accumulator grad_scores[kM][kSub / 8];
      multiply_rows<T>(scores, keys + row_bytes, my_queries, offset);
      const int query = tile_query + at;
      const int* sight = end_of_sight + warp_row + lane / 4;
      const float* log_sum = log_sums + at + lane % 4 * 2;
      if (query < first_key + 16 * kM - 1 || query + kSub > warp_all) {
        transposed_probabilities<true>(scores, log_sum, sight, factor, first_key + lane / 4, query + lane % 4 * 2);
      } else {
        transposed_probabilities<false>(scores, log_sum, sight, factor, first_key + lane / 4, query + lane % 4 * 2);
      }
      Fragment powers[kM][kSub / 16];
      to_fragments<T>(scores, powers);
      if constexpr (kSplit == 2) hand_over(powers, mine, lane);
      multiply_rows<T>(grad_scores, values + row_bytes, my_queries + Tile::kQueryBytes, offset);
      transposed_gradients(scores, grad_scores, log_sum + kQueries);
      Fragment weights[kM][kSub / 16];
      to_fragments<T>(grad_scores, weights);
      if constexpr (kSplit == 2) {
        hand_over(weights, mine + Tile::kHandedBytes / 2, lane);
        pair_barrier(group);
      }
      multiply_columns<T>(grad_values, powers, my_queries + Tile::kQueryBytes + column_bytes, offset);
      multiply_columns<T>(grad_keys, weights, my_queries + column_bytes, offset);
      if constexpr (kSplit == 2) {
        const std::uint32_t other_queries =
            queries + static_cast<std::uint32_t>((sub + (1 - part) * kSub) * kRowBytes<kWidth>);
        take_over(powers, others, lane);
        multiply_columns<T>(grad_values, powers, other_queries + Tile::kQueryBytes + column_bytes, offset);
        take_over(weights, others + Tile::kHandedBytes / 2, lane);
        multiply_columns<T>(grad_keys, weights, other_queries + column_bytes, offset);
      }
    }
  }
  wait_for_copies<0>();
  __syncthreads();  // the results take the place of keys and values

#pragma unroll
  for (int m = 0; m < kM; ++m) {
#pragma unroll
    for (int n = 0; n < Tile::kColumns / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) grad_keys[m][n][i] *= call.scale;
    }
  }
  const int first_chunk = part * Tile::kColumns / 8;
  Destination<T> to{call.result + first_key * stride + call.key_column(kv_head), stride, call.tokens - first_key,
                    call.head_dim};
  store_rows<T, kWidth>(grad_keys, shared + row_bytes, first_chunk, lane, to);
  to.row0 = call.result + first_key * stride + call.value_column(kv_head);
  store_rows<T, kWidth>(grad_values, shared + Tile::kKeyBytes + row_bytes, first_chunk, lane, to);
}

}  // namespace llama_zero::cuda
