// Tiles of 16-bit numbers in shared memory, and the two products that all flash kernels are made of.
//
// A tile has rows of kWidth numbers (head_dim, rounded up to the width and filled with zeros). Its 16-byte chunks are
// swizzled: chunk c of row r lies at c ^ (r % 8), so that the eight rows that a matrix load reads at one chunk lie in
// different banks, and writes of whole rows do not conflict either.
#pragma once

#include <cstdint>

#include "kernels/cuda/attention/flash_mma.cuh"

namespace llama_zero::cuda {

template <int kWidth>
inline constexpr int kRowBytes = kWidth * 2;

/// A lane's place in matrix loads of 16 rows x 16 columns: row lane % 16, chunk lane / 16. It serves operands of either
/// side: for the right one the loaded registers pair up as (0, 2) and (1, 3), after transposing as (0, 1) and (2, 3).
template <int kWidth>
class LaneOffset {
  static_assert(kWidth % 64 == 0, "the swizzle permutes eight chunks");

 public:
  __device__ explicit LaneOffset(int lane)
      : base_(static_cast<std::uint32_t>((lane % 16) * kRowBytes<kWidth> + (((lane / 16) ^ (lane % 8)) << 4))) {}
  /// Bytes from the tile's row (a multiple of 8) to this lane's row and chunk of the 16 columns from 16 * step on.
  __device__ __forceinline__ std::uint32_t at(int step) const {
    return (base_ ^ static_cast<std::uint32_t>((step % 4) << 5)) + static_cast<std::uint32_t>(step / 4 * 128);
  }

 private:
  std::uint32_t base_;
};

/// Starts copying rows [first, first + kRows) of one head into a tile; rows from `end` on and columns from head_dim on
/// become zeros, and nothing is read for them. `head` points at the head's numbers of token 0.
template <int kWidth, int kRows, int kThreads, typename T>
__device__ __forceinline__ void load_tile_async(std::uint32_t tile, const T* head, std::int64_t stride, int first,
                                                int end, int head_dim) {
  constexpr int kChunks = kWidth / 8;
  constexpr int kStep = kThreads / kChunks;  // rows that the block loads at once
  static_assert(kThreads % kChunks == 0 && kRows % kStep == 0);
  const int thread = thread_now();
  const int chunk = thread % kChunks;
  const int row = thread / kChunks;
  const bool inside = chunk * 8 < head_dim;
  const T* from = head + (first + row) * stride + chunk * 8;
#pragma unroll
  for (int i = 0; i < kRows / kStep; ++i) {
    const int r = row + i * kStep;
    const bool valid = inside && first + r < end;
    const auto to = static_cast<std::uint32_t>(r * kRowBytes<kWidth> + ((chunk ^ (r % 8)) << 4));
    copy_16_async(tile + to, valid ? from : head, valid);
    from += kStep * stride;
  }
}

template <int kM, int kN>
__device__ __forceinline__ void clear(Accumulator (&sums)[kM][kN]) {
#pragma unroll
  for (int m = 0; m < kM; ++m) {
#pragma unroll
    for (int n = 0; n < kN; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) sums[m][n][i] = 0.0F;
    }
  }
}

/// sums = a * b^T: products of 16 * kM rows of tile a with 8 * kN rows of tile b.
template <typename T, int kWidth, int kM, int kN>
__device__ __forceinline__ void multiply_rows(Accumulator (&sums)[kM][kN], std::uint32_t a, std::uint32_t b,
                                              const LaneOffset<kWidth>& lane) {
  clear(sums);
#pragma unroll
  for (int k = 0; k < kWidth / 16; ++k) {
    Fragment left[kM];
#pragma unroll
    for (int m = 0; m < kM; ++m) load_matrices(left[m], a + lane.at(k) + m * 16 * kRowBytes<kWidth>);
#pragma unroll
    for (int n = 0; n < kN; n += 2) {
      Fragment right;
      load_matrices(right, b + lane.at(k) + n * 8 * kRowBytes<kWidth>);
#pragma unroll
      for (int m = 0; m < kM; ++m) {
        multiply_add<T>(sums[m][n], left[m], right[0], right[2]);
        multiply_add<T>(sums[m][n + 1], left[m], right[1], right[3]);
      }
    }
  }
}

/// sums += weights * b: weights of 16 * kM rows and 16 * kK columns in registers, b the 8 * kN columns from `b` on of
/// 16 * kK rows of a tile.
template <typename T, int kWidth, int kM, int kK, int kN>
__device__ __forceinline__ void multiply_columns(Accumulator (&sums)[kM][kN], const Fragment (&weights)[kM][kK],
                                                 std::uint32_t b, const LaneOffset<kWidth>& lane) {
#pragma unroll
  for (int k = 0; k < kK; ++k) {
#pragma unroll
    for (int n = 0; n < kN; n += 2) {
      Fragment right;
      load_matrices_transposed(right, b + k * 16 * kRowBytes<kWidth> + lane.at(n / 2));
#pragma unroll
      for (int m = 0; m < kM; ++m) {
        multiply_add<T>(sums[m][n], weights[m][k], right[0], right[1]);
        multiply_add<T>(sums[m][n + 1], weights[m][k], right[2], right[3]);
      }
    }
  }
}

/// Rounds a result to T in the form of the left operand of the next product.
template <typename T, int kM, int kN>
__device__ __forceinline__ void to_fragments(const Accumulator (&values)[kM][kN], Fragment (&fragments)[kM][kN / 2]) {
#pragma unroll
  for (int m = 0; m < kM; ++m) {
#pragma unroll
    for (int n = 0; n < kN; ++n) {
      fragments[m][n / 2][n % 2 * 2] = pack_two<T>(values[m][n][0], values[m][n][1]);
      fragments[m][n / 2][n % 2 * 2 + 1] = pack_two<T>(values[m][n][2], values[m][n][3]);
    }
  }
}

/// Where a warp's rows of a result go. `row0` points at this head's numbers of the warp's first row.
template <typename T>
struct Destination {
  T* row0;
  std::int64_t stride;
  int rows;      ///< rows that exist
  int head_dim;  ///< columns that exist
};

/// Writes a warp's 16 * kM rows and 8 * kN columns (from chunk `first_chunk` on) by way of the same place of a tile in
/// shared memory, which only this warp may be using, so that memory sees 16-byte accesses to whole rows.
template <typename T, int kWidth, int kM, int kN>
__device__ __forceinline__ void store_rows(const Accumulator (&values)[kM][kN], unsigned char* tile, int first_chunk,
                                           int lane, const Destination<T>& to) {
#pragma unroll
  for (int m = 0; m < kM; ++m) {
#pragma unroll
    for (int n = 0; n < kN; ++n) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int row = m * 16 + half * 8 + lane / 4;
        const int place = row * kRowBytes<kWidth> + (((first_chunk + n) ^ (row % 8)) << 4) + lane % 4 * 4;
        *reinterpret_cast<std::uint32_t*>(tile + place) =
            pack_two<T>(values[m][n][2 * half], values[m][n][2 * half + 1]);
      }
    }
  }
  __syncwarp();
#pragma unroll 4
  for (int i = lane; i < kM * 16 * kN; i += 32) {
    const int row = i / kN;
    const int chunk = first_chunk + i % kN;
    if (row < to.rows && chunk * 8 < to.head_dim) {
      *reinterpret_cast<uint4*>(to.row0 + row * to.stride + chunk * 8) =
          *reinterpret_cast<const uint4*>(tile + row * kRowBytes<kWidth> + ((chunk ^ (row % 8)) << 4));
    }
  }
}

}  // namespace llama_zero::cuda
