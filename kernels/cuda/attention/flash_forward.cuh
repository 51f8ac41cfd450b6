// Flash attention, forward: Dao, "FlashAttention-2", 2023, algorithm 1, for packed documents.
//
// One block has a tile of query tokens of one head, whatever documents they belong to, and walks over the tiles of keys
// from the beginning of its first token's document to its last token. Each row masks by its own document and position;
// tiles that no row of a warp sees are skipped. Keys and values come in two stages: the next tile is on its way while
// one is worked on. Scores stay in registers: the accumulators of S = Q K^T, rounded, are the left operand of P V.
#pragma once

#include "kernels/cuda/attention/flash_call.cuh"
#include "kernels/cuda/attention/flash_tile.cuh"

namespace llama_zero::cuda {

/// The running softmax of the rows that a thread shares with three others: two rows for each of kM row blocks.
template <int kM>
struct OnlineSoftmax {
  float max[kM][2];
  float sum[kM][2];  ///< of this thread's columns

  __device__ OnlineSoftmax() {
#pragma unroll
    for (int m = 0; m < kM; ++m) max[m][0] = max[m][1] = -INFINITY, sum[m][0] = sum[m][1] = 0.0F;
  }

  /// Scores become powers 2^(factor * (score - max)); sums and results so far are scaled to the new maximum. Mostly no
  /// row of the warp has a new one: then the results stay as they are.
  template <int kN, int kColumns8>
  __device__ __forceinline__ void step(Accumulator (&scores)[kM][kN], Accumulator (&result)[kM][kColumns8],
                                       float factor) {
    float rescale[kM][2];
    bool changed = false;
#pragma unroll
    for (int m = 0; m < kM; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        rescale[m][half] = row_step(scores[m], m, half, factor);
        changed = changed || rescale[m][half] != 1.0F;
      }
    }
    if (!__any_sync(0xffffffffU, changed)) return;
#pragma unroll
    for (int m = 0; m < kM; ++m) {
#pragma unroll
      for (int n = 0; n < kColumns8; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) result[m][n][i] *= rescale[m][i / 2];
      }
    }
  }

 private:
  /// One row of the thread; returns the factor of its results.
  template <int kN>
  __device__ __forceinline__ float row_step(Accumulator (&scores)[kN], int m, int half, float factor) {
    float largest = max[m][half];
#pragma unroll
    for (int n = 0; n < kN; ++n) largest = fmaxf(largest, fmaxf(scores[n][2 * half], scores[n][2 * half + 1]));
    largest = fmaxf(largest, __shfl_xor_sync(0xffffffffU, largest, 1));
    largest = fmaxf(largest, __shfl_xor_sync(0xffffffffU, largest, 2));
    const float base = largest == -INFINITY ? 0.0F : largest * factor;
    const float rescale = largest == max[m][half] ? 1.0F : power_of_two(fmaf(max[m][half], factor, -base));
    max[m][half] = largest;
    float total = 0.0F;
#pragma unroll
    for (int n = 0; n < kN; ++n) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const float power = power_of_two(fmaf(scores[n][2 * half + i], factor, -base));
        scores[n][2 * half + i] = power;
        total += power;
      }
    }
    sum[m][half] = fmaf(sum[m][half], rescale, total);
    return rescale;
  }
};

/// Scores outside the mask become -inf: a row sees keys [first visible, row]. `first_visible`, in shared memory, begins
/// with the thread's first row, whose token is `row`.
template <int kM, int kN>
__device__ __forceinline__ void mask_keys(Accumulator (&scores)[kM][kN], const int* first_visible, int row, int key) {
#pragma unroll
  for (int m = 0; m < kM; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int q = row + m * 16 + half * 8;
      const int first = first_visible[m * 16 + half * 8];
#pragma unroll
      for (int n = 0; n < kN; ++n) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const int k = key + n * 8 + i;
          if (k > q || k < first) scores[m][n][2 * half + i] = -INFINITY;
        }
      }
    }
  }
}

template <typename T, typename Tile>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks) flash_forward_kernel(const FlashCall<T> call) {
  constexpr int kWidth = Tile::kWidth, kM = Tile::kM, kKeys = Tile::kKeys, kRows = Tile::kRows;
  extern __shared__ __align__(128) unsigned char shared[];
  const std::uint32_t queries = shared_address(shared);
  const std::uint32_t stages = queries + Tile::kQueryBytes;
  int* first_visible = reinterpret_cast<int*>(shared + Tile::kQueryBytes + 4 * Tile::kKeyBytes);

  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int first = static_cast<int>(gridDim.x - 1 - blockIdx.x) * kRows;  // late tiles have the most work: first
  const int head = static_cast<int>(blockIdx.y);
  const int kv_head = head / call.group();
  const std::int64_t stride = call.qkv_stride();
  const T* key_head = call.qkv + call.key_column(kv_head);
  const T* value_head = call.qkv + call.value_column(kv_head);
  const LaneOffset<kWidth> offset(lane);

  load_tile_async<kWidth, kRows, Tile::kThreads>(queries, call.qkv + call.query_column(head), stride, first,
                                                 call.attended, call.head_dim);
  commit_copies();
  for (int row = static_cast<int>(threadIdx.x); row < kRows; row += Tile::kThreads) {
    first_visible[row] = call.first_visible(first + row);
  }
  __syncthreads();
  const int end = min(first + kRows, call.attended);
  const int begin = first < call.attended ? first_visible[0] / kKeys * kKeys : end;
  const auto load_stage = [&](int key, int stage) {
    const std::uint32_t to = stages + static_cast<std::uint32_t>(stage * 2 * Tile::kKeyBytes);
    load_tile_async<kWidth, kKeys, Tile::kThreads>(to, key_head, stride, key, end, call.head_dim);
    load_tile_async<kWidth, kKeys, Tile::kThreads>(to + Tile::kKeyBytes, value_head, stride, key, end, call.head_dim);
    commit_copies();
  };
  if (begin < end) load_stage(begin, 0);

  const int warp_row = warp * 16 * kM;
  const int warp_first = first_visible[warp_row];              // first key that a row of the warp sees
  const int warp_all = first_visible[warp_row + 16 * kM - 1];  // first key that all rows see, but for later ones
  const int last_row = first + warp_row + 16 * kM - 1;
  const float factor = call.scale * kLog2E;
  Accumulator result[kM][kWidth / 8];
  clear(result);
  OnlineSoftmax<kM> softmax;

  int stage = 0;
  for (int key = begin; key < end; key += kKeys, stage ^= 1) {
    wait_for_copies<0>();
    __syncthreads();
    if (key + kKeys < end) load_stage(key + kKeys, stage ^ 1);
    if (key > last_row || key + kKeys <= warp_first) continue;
    const std::uint32_t keys = stages + static_cast<std::uint32_t>(stage * 2 * Tile::kKeyBytes);
    Accumulator scores[kM][kKeys / 8];
    multiply_rows<T>(scores, queries + static_cast<std::uint32_t>(warp_row * kRowBytes<kWidth>), keys, offset);
    if (key + kKeys - 1 > first + warp_row || key < warp_all) {
      mask_keys(scores, first_visible + warp_row + lane / 4, first + warp_row + lane / 4, key + lane % 4 * 2);
    }
    softmax.step(scores, result, factor);
    Fragment powers[kM][kKeys / 16];
    to_fragments<T>(scores, powers);
    multiply_columns<T>(result, powers, keys + Tile::kKeyBytes, offset);
  }
  wait_for_copies<0>();  // a block without keys has not waited for its queries, whose place the result takes
  __syncthreads();

#pragma unroll
  for (int m = 0; m < kM; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float sum = softmax.sum[m][half];
      sum += __shfl_xor_sync(0xffffffffU, sum, 1);
      sum += __shfl_xor_sync(0xffffffffU, sum, 2);
      const float inverse = sum == 0.0F ? 0.0F : 1.0F / sum;
#pragma unroll
      for (int n = 0; n < kWidth / 8; ++n) {
        result[m][n][2 * half] *= inverse;
        result[m][n][2 * half + 1] *= inverse;
      }
      const int token = first + warp_row + m * 16 + half * 8 + lane / 4;
      if (lane % 4 == 0 && token < call.tokens) {
        call.log_sum_exp[call.statistic(head, token)] =
            sum == 0.0F ? 0.0F : fmaf(softmax.max[m][half], call.scale, logf(sum));
      }
    }
  }
  const Destination<T> to{call.result + (first + warp_row) * call.output_stride() + call.query_column(head),
                          call.output_stride(), call.tokens - first - warp_row, call.head_dim};
  store_rows<T, kWidth>(result, shared + warp_row * kRowBytes<kWidth>, 0, lane, to);
}

}  // namespace llama_zero::cuda
