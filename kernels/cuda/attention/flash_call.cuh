// One call of flash attention as its kernels see it, and the tile sizes.
#pragma once

#include <climits>
#include <cstdint>

#include "kernels/cuda/attention/plain.cuh"

namespace llama_zero::cuda {

template <typename T>
struct FlashCall {
  const T* qkv;
  const T* output;       ///< backward: the forward's
  const T* grad_output;  ///< backward
  T* result;             ///< output, or grad_qkv
  float* log_sum_exp;    ///< [Hq, T]; written by the forward
  float* delta;          ///< backward: [Hq, T] sum of grad_output * output over the head; scratch
  const std::int32_t* cu_seqlens;
  int documents, tokens, attended;
  int query_heads, kv_heads, head_dim;
  float scale;

  __device__ std::int64_t qkv_stride() const {
    return static_cast<std::int64_t>(query_heads + 2 * kv_heads) * head_dim;
  }
  __device__ std::int64_t output_stride() const { return static_cast<std::int64_t>(query_heads) * head_dim; }
  __device__ int group() const { return query_heads / kv_heads; }
  __device__ int query_column(int head) const { return head * head_dim; }
  __device__ int key_column(int kv_head) const { return (query_heads + kv_head) * head_dim; }
  __device__ int value_column(int kv_head) const { return (query_heads + kv_heads + kv_head) * head_dim; }
  __device__ std::int64_t statistic(int head, int token) const {
    return static_cast<std::int64_t>(head) * tokens + token;
  }
  /// First token that `token` sees; padding sees none.
  __device__ int first_visible(int token) const {
    return token < attended ? document_of(cu_seqlens, documents, token).first : INT_MAX;
  }
  /// End of the tokens that see `token`; none see padding.
  __device__ int end_of_sight(int token) const {
    return token < attended ? document_of(cu_seqlens, documents, token).end : 0;
  }
};

inline constexpr float kLog2E = 1.4426950408889634F;

/// Tiles of the forward kernel: a block of kWarps warps has 16 * kM query rows a warp and loads kKeys keys at a time.
/// Each right operand that a warp loads from shared memory serves kM products: with one, shared memory is the limit.
template <int kWidth_, int kWarps_, int kM_, int kKeys_, int kBlocks_>
struct ForwardTile {
  static constexpr int kWidth = kWidth_, kWarps = kWarps_, kM = kM_, kKeys = kKeys_;
  static constexpr int kBlocks = kBlocks_;  ///< blocks that shall fit a multiprocessor
  static constexpr int kThreads = 32 * kWarps;
  static constexpr int kRows = 16 * kM * kWarps;
  static constexpr int kQueryBytes = kRows * kWidth * 2;
  static constexpr int kKeyBytes = kKeys * kWidth * 2;
  static constexpr int kShared = kQueryBytes + 4 * kKeyBytes + 4 * kRows;
};

/// Tiles of the query-gradient kernel: as the forward's, with kSub keys of a tile at a time in registers.
template <int kWidth_, int kWarps_, int kM_, int kKeys_, int kSub_, int kBlocks_>
struct QueryTile {
  static constexpr int kWidth = kWidth_, kWarps = kWarps_, kM = kM_, kKeys = kKeys_, kSub = kSub_;
  static constexpr int kBlocks = kBlocks_;
  static constexpr int kThreads = 32 * kWarps;
  static constexpr int kRows = 16 * kM * kWarps;
  static constexpr int kQueryBytes = kRows * kWidth * 2;
  static constexpr int kKeyBytes = kKeys * kWidth * 2;
  static constexpr int kShared = 2 * kQueryBytes + 4 * kKeyBytes + 12 * kRows;
};

/// Tiles of the key-value-gradient kernel: kGroups groups of kSplit warps; a group has 16 * kM keys, whose gradients'
/// columns its warps share out; kQueries queries are loaded at a time, and a warp scores kSub of them at once.
template <int kWidth_, int kGroups_, int kSplit_, int kM_, int kQueries_, int kSub_, int kBlocks_>
struct KeyValueTile {
  static constexpr int kWidth = kWidth_, kGroups = kGroups_, kSplit = kSplit_, kM = kM_;
  static constexpr int kQueries = kQueries_, kSub = kSub_;
  static constexpr int kBlocks = kBlocks_;
  static constexpr int kThreads = 32 * kGroups * kSplit;
  static constexpr int kRows = 16 * kM * kGroups;
  static constexpr int kColumns = kWidth / kSplit;
  static constexpr int kKeyBytes = kRows * kWidth * 2;
  static constexpr int kQueryBytes = kQueries * kWidth * 2;
  /// What a warp hands to the other of its pair: probabilities and score gradients of its queries.
  static constexpr int kHandedBytes = kSplit == 1 ? 0 : 2 * 16 * kM * kSub * 2;
  static constexpr int kStatisticBytes = 2 * kQueries * 4;
  static constexpr int kShared =
      2 * kKeyBytes + 4 * kQueryBytes + kGroups * kSplit * kHandedBytes + 2 * kStatisticBytes + 4 * kRows;
  static_assert(kSplit == 1 || kQueries == kSplit * kSub, "a pair scores a whole tile of queries at once");
};

}  // namespace llama_zero::cuda
