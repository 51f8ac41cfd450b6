// Tile sizes of the flash kernels for each width, and their launches. Included by one file a width, which compiles
// them.
#pragma once

#include <algorithm>

#include "kernels/cuda/attention/flash_forward.cuh"
#include "kernels/cuda/attention/flash_grad_key_value.cuh"
#include "kernels/cuda/attention/flash_grad_query.cuh"
#include "kernels/cuda/attention/flash_width.cuh"

namespace llama_zero::cuda {

/// Documents up to this length get tiles of half the rows and more blocks a multiprocessor: less of a tile is masked,
/// and one block's beginning and end hide behind the others' work. Longer ones get the tiles with the fewest loads from
/// shared memory a product.
inline constexpr int kShortDocument = 1024;

template <int kWidth, bool kShort>
struct FlashTiles;

template <>
struct FlashTiles<64, true> {
  using Forward = ForwardTile<64, 4, 1, 64, 4>;
  using GradQuery = QueryTile<64, 4, 1, 64, 64, 3>;
  using GradKeyValue = KeyValueTile<64, 4, 1, 1, 64, 32, 3>;
};

template <>
struct FlashTiles<64, false> {
  using Forward = ForwardTile<64, 4, 2, 64, 2>;
  using GradQuery = QueryTile<64, 4, 2, 64, 64, 2>;
  using GradKeyValue = KeyValueTile<64, 4, 1, 2, 32, 32, 2>;
};

template <>
struct FlashTiles<128, true> {
  using Forward = ForwardTile<128, 4, 1, 32, 3>;
  using GradQuery = QueryTile<128, 4, 1, 32, 32, 3>;
  using GradKeyValue = KeyValueTile<128, 4, 1, 1, 64, 32, 2>;
};

template <>
struct FlashTiles<128, false> {
  using Forward = ForwardTile<128, 4, 2, 64, 2>;
  using GradQuery = QueryTile<128, 4, 2, 32, 32, 2>;
  using GradKeyValue = KeyValueTile<128, 4, 2, 2, 64, 32, 1>;
};

/// What shared memory and registers allow; not tuned.
template <bool kShort>
struct FlashTiles<256, kShort> {
  using Forward = ForwardTile<256, 8, 1, 32, 1>;
  using GradQuery = QueryTile<256, 4, 1, 32, 32, 1>;
  using GradKeyValue = KeyValueTile<256, 4, 2, 1, 32, 16, 1>;
};

template <typename Tile, typename T>
void launch_flash(const char* op, void (*kernel)(FlashCall<T>), const FlashCall<T>& call, int heads,
                  const Launch& launch) {
  require(Tile::kShared <= launch.shared_memory_block,
          "{}: flash attention needs {} bytes of shared memory a block at head_dim {}, this GPU has {}", op,
          Tile::kShared, call.head_dim, launch.shared_memory_block);
  LLAMA_ZERO_CUDA(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, Tile::kShared));
  const dim3 blocks(static_cast<unsigned>(ceil_div(call.tokens, Tile::kRows)), static_cast<unsigned>(heads));
  kernel<<<blocks, Tile::kThreads, Tile::kShared, launch.stream>>>(call);
  check_launch(op);
}

template <typename Tiles, typename T>
void forward_with(const FlashCall<T>& call, const Launch& launch) {
  using Tile = typename Tiles::Forward;
  launch_flash<Tile>("attention_forward", flash_forward_kernel<T, Tile>, call, call.query_heads, launch);
}

/// The queries' gradient first: it computes the delta that the keys' needs.
template <typename Tiles, typename T>
void backward_with(const FlashCall<T>& call, const Launch& launch) {
  using Query = typename Tiles::GradQuery;
  using KeyValue = typename Tiles::GradKeyValue;
  launch_flash<Query>("attention_backward", flash_grad_query_kernel<T, Query>, call, call.query_heads, launch);
  launch_flash<KeyValue>("attention_backward", flash_grad_key_value_kernel<T, KeyValue>, call, call.kv_heads, launch);
}

/// Whether a block may have the shared memory of all tiles: GPUs of compute capability 8.6 and 8.9 give 99 KiB.
template <typename Tiles>
bool tiles_fit(const Launch& launch) {
  return std::max({Tiles::Forward::kShared, Tiles::GradQuery::kShared, Tiles::GradKeyValue::kShared}) <=
         static_cast<int>(launch.shared_memory_block);
}

template <int kWidth>
bool flash_fits(const Launch& launch) {
  return tiles_fit<FlashTiles<kWidth, true>>(launch);
}

template <int kWidth, typename T>
void flash_forward(const FlashCall<T>& call, std::int64_t longest, const Launch& launch) {
  if (longest <= kShortDocument || !tiles_fit<FlashTiles<kWidth, false>>(launch))
    return forward_with<FlashTiles<kWidth, true>>(call, launch);
  return forward_with<FlashTiles<kWidth, false>>(call, launch);
}

template <int kWidth, typename T>
void flash_backward(const FlashCall<T>& call, std::int64_t longest, const Launch& launch) {
  if (longest <= kShortDocument || !tiles_fit<FlashTiles<kWidth, false>>(launch))
    return backward_with<FlashTiles<kWidth, true>>(call, launch);
  return backward_with<FlashTiles<kWidth, false>>(call, launch);
}

}  // namespace llama_zero::cuda
