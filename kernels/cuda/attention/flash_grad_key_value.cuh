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
struct QueryWalk {
  int head, query, stage;
  __device__ __forceinline__ void advance(int tile, int first, int end) {
    query += tile;
    stage ^= 1;
    if (query < end) return;
    query = first;
    ++head;
  }
};

/// Where a thread's warp stands among the groups. Worked out anew in each step: registers are dearer than that.
template <int kSplit, int kM>
struct WarpPlace {
  int thread = thread_now();
  int lane = thread % 32;
  int warp = thread / 32;
  int group = warp / kSplit;
  int part = warp % kSplit;
  int row = group * 16 * kM;  ///< the group's first key in the tile
};

template <typename T, typename Tile>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks) flash_grad_key_value_kernel(const FlashCall<T> call) {
  constexpr int kWidth = Tile::kWidth, kM = Tile::kM, kRows = Tile::kRows, kSub = Tile::kSub;
  constexpr int kQueries = Tile::kQueries, kSplit = Tile::kSplit, kThreads = Tile::kThreads;
  static_assert(kSplit == 1 || kQueries == kSub * kSplit, "what is handed over lives until the next tile's barrier");
  extern __shared__ __align__(128) unsigned char shared[];
  unsigned char* handed = shared + 2 * Tile::kKeyBytes + 4 * Tile::kQueryBytes;
  unsigned char* statistics = handed + Tile::kGroups * kSplit * Tile::kHandedBytes;
  int* end_of_sight = reinterpret_cast<int*>(statistics + 2 * Tile::kStatisticBytes);
  const std::uint32_t keys = shared_address(shared);
  const std::uint32_t values = keys + Tile::kKeyBytes;
  const std::uint32_t stages = values + Tile::kKeyBytes;

  const int first = static_cast<int>(blockIdx.x) * kRows;  // early tiles have the most work: first
  const int kv_head = static_cast<int>(blockIdx.y);
  const std::int64_t stride = call.qkv_stride();
  const LaneOffset<kWidth> offset(static_cast<int>(threadIdx.x) % 32);

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

  const auto load_stage = [&](const QueryWalk& at) {
    const std::uint32_t to = stages + static_cast<std::uint32_t>(at.stage * 2 * Tile::kQueryBytes);
    load_tile_async<kWidth, kQueries, kThreads>(to, call.qkv + call.query_column(at.head), stride, at.query, end,
                                                call.head_dim);
    load_tile_async<kWidth, kQueries, kThreads>(to + Tile::kQueryBytes, call.grad_output + call.query_column(at.head),
                                                call.output_stride(), at.query, end, call.head_dim);
    const int i = thread_now();
    if (i < 2 * kQueries) {
      const int token = at.query + i % kQueries;
      const float* from = i < kQueries ? call.log_sum_exp : call.delta;
      copy_4_async(shared_address(statistics + at.stage * Tile::kStatisticBytes + 4 * i),
                   token < end ? from + call.statistic(at.head, token) : from, token < end);
    }
  };
  QueryWalk next{kv_head * call.group(), first, 0};
  if (next.head < end_head) load_stage(next);
  commit_copies();

  const float factor = call.scale * kLog2E;
  Accumulator grad_keys[kM][Tile::kColumns / 8];
  Accumulator grad_values[kM][Tile::kColumns / 8];
  clear(grad_keys);
  clear(grad_values);

  while (next.head < end_head) {
    const int tile_query = next.query;
    const int stage = next.stage;
    const std::uint32_t queries = stages + static_cast<std::uint32_t>(stage * 2 * Tile::kQueryBytes);
    const auto* log_sums = reinterpret_cast<const float*>(statistics + stage * Tile::kStatisticBytes);
    wait_for_copies<0>();
    __syncthreads();
    next.advance(kQueries, first, end);
    if (next.head < end_head) load_stage(next);
    commit_copies();
#pragma unroll 1
    for (int sub = 0; sub < kQueries; sub += kSub * kSplit) {
      const WarpPlace<kSplit, kM> place;
      const int first_key = first + place.row;
      // End of sight rises with the key, but padding keys, the last ones of their tile, have none.
      const int front = end_of_sight[place.row];
      const int back = end_of_sight[place.row + 16 * kM - 1];
      const int seen_until = front == 0 || back != 0 ? back : end;
      if (tile_query + sub + kSub * kSplit <= first_key || tile_query + sub >= seen_until) {
        if constexpr (kSplit == 2) __syncthreads();  // the handing over of the others
        continue;
      }
      const int at = sub + place.part * kSub;
      const auto key_rows = static_cast<std::uint32_t>(place.row * kRowBytes<kWidth>);
      const std::uint32_t my_queries = queries + static_cast<std::uint32_t>(at * kRowBytes<kWidth>);
      Accumulator scores[kM][kSub / 8];
      Accumulator grad_scores[kM][kSub / 8];
      multiply_rows<T>(scores, keys + key_rows, my_queries, offset);
      const int query = tile_query + at;
      const int* sight = end_of_sight + place.row + place.lane / 4;
      const float* log_sum = log_sums + at + place.lane % 4 * 2;
      const int my_key = first_key + place.lane / 4;
      const int my_query = query + place.lane % 4 * 2;
      const int* group_sight = end_of_sight + place.row;
      if (query < first_key + 16 * kM - 1 || group_sight[16 * kM - 1] == 0 || query + kSub > group_sight[0]) {
        transposed_probabilities<true>(scores, log_sum, sight, factor, my_key, my_query);
      } else {
        transposed_probabilities<false>(scores, log_sum, sight, factor, my_key, my_query);
      }
      Fragment powers[kM][kSub / 16];
      to_fragments<T>(scores, powers);
      unsigned char* mine = handed + place.warp * Tile::kHandedBytes;
      if constexpr (kSplit == 2) hand_over(powers, mine, place.lane);
      multiply_rows<T>(grad_scores, values + key_rows, my_queries + Tile::kQueryBytes, offset);
      transposed_gradients(scores, grad_scores, log_sum + kQueries);
      Fragment weights[kM][kSub / 16];
      to_fragments<T>(grad_scores, weights);
      if constexpr (kSplit == 2) {
        hand_over(weights, mine + Tile::kHandedBytes / 2, place.lane);
        // For the pair alone a barrier of 64 threads would do; it is no faster, and racecheck does not know it.
        __syncthreads();
      }
      const WarpPlace<kSplit, kM> again;
      const auto my_columns = static_cast<std::uint32_t>(again.part * Tile::kColumns * 2);
      const std::uint32_t right =
          queries + static_cast<std::uint32_t>((sub + again.part * kSub) * kRowBytes<kWidth>) + my_columns;
      multiply_columns<T>(grad_values, powers, right + Tile::kQueryBytes, offset);
      multiply_columns<T>(grad_keys, weights, right, offset);
      if constexpr (kSplit == 2) {
        const unsigned char* others = handed + (again.warp ^ 1) * Tile::kHandedBytes;
        const std::uint32_t other =
            queries + static_cast<std::uint32_t>((1 - again.part) * kSub * kRowBytes<kWidth>) + my_columns;
        take_over(powers, others, again.lane);
        multiply_columns<T>(grad_values, powers, other + Tile::kQueryBytes, offset);
        take_over(weights, others + Tile::kHandedBytes / 2, again.lane);
        multiply_columns<T>(grad_keys, weights, other, offset);
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
  const WarpPlace<kSplit, kM> place;
  const int first_key = first + place.row;
  const int first_chunk = place.part * Tile::kColumns / 8;
  unsigned char* rows = shared + place.row * kRowBytes<kWidth>;
  Destination<T> to{call.result + first_key * stride + call.key_column(kv_head), stride, call.tokens - first_key,
                    call.head_dim};
  store_rows<T, kWidth>(grad_keys, rows, first_chunk, place.lane, to);
  to.row0 = call.result + first_key * stride + call.value_column(kv_head);
  store_rows<T, kWidth>(grad_values, rows + Tile::kKeyBytes, first_chunk, place.lane, to);
}

}  // namespace llama_zero::cuda
