// How CPU kernels share out their work: fixed tiles over a team of threads, and scratch from the workspace.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "core/error.h"
#include "core/view.h"

namespace llama_zero::cpu {

/// What every kernel is given beside its arguments.
struct Context {
  int threads = 1;
  View workspace;
};

/// Calls body(tile, thread) for every tile in [0, tiles), thread < context.threads. Which thread runs a tile is open,
/// so a tile's result must depend on the tile alone: then bits do not depend on the number of threads. body must not
/// throw.
template <typename Body>
void parallel_for(const Context& context, std::int64_t tiles, const Body& body) {
  const int team = static_cast<int>(std::min<std::int64_t>(context.threads, tiles));
  if (team <= 1) {
    for (std::int64_t tile = 0; tile < tiles; ++tile) body(tile, 0);
    return;
  }
#pragma omp parallel for num_threads(team) schedule(dynamic)
  for (std::int64_t tile = 0; tile < tiles; ++tile) body(tile, omp_get_thread_num());
}

/// Elements of a tile of flat or row-wise work: large against the cost of handing it to a thread, small against the
/// caches.
inline constexpr std::int64_t kTileElements = 16384;

/// Elements that a kernel converts at a time into a buffer on the stack.
inline constexpr std::int64_t kBlock = 1024;

/// Calls body(first, last) for ranges of rows that hold about kTileElements elements each.
template <typename Body>
void parallel_rows(const Context& context, std::int64_t rows, std::int64_t row_elements, const Body& body) {
  const std::int64_t step = std::max<std::int64_t>(1, kTileElements / std::max<std::int64_t>(1, row_elements));
  parallel_for(context, (rows + step - 1) / step,
               [&](std::int64_t tile, int) { body(tile * step, std::min(rows, (tile + 1) * step)); });
}

/// Calls body(offset, count) for the blocks of [0, elements), count <= kBlock.
template <typename Body>
void for_blocks(std::int64_t elements, const Body& body) {
  for (std::int64_t offset = 0; offset < elements; offset += kBlock) body(offset, std::min(kBlock, elements - offset));
}

/// As for_blocks over a flat range, shared out over the team.
template <typename Body>
void parallel_blocks(const Context& context, std::int64_t elements, const Body& body) {
  parallel_rows(context, (elements + kBlock - 1) / kBlock, kBlock, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t block = first; block < last; ++block) {
      body(block * kBlock, std::min(kBlock, elements - block * kBlock));
    }
  });
}

inline constexpr std::size_t kScratchAlignment = 64;

/// Bytes that `count` elements take inside a Scratch.
template <typename T>
std::size_t scratch_bytes(std::int64_t count) {
  const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(T);
  return (bytes + kScratchAlignment - 1) / kScratchAlignment * kScratchAlignment;
}

/// Hands out a part of the workspace piece by piece.
class Scratch {
 public:
  /// The part [offset, offset + bytes) of the workspace. Throws Error naming `op` when it is not all there.
  Scratch(const Context& context, const char* op, std::size_t offset, std::size_t bytes)
      : next_(context.workspace.raw() + offset) {
    require(offset + bytes <= context.workspace.bytes(), "{}: workspace has {} bytes, needs {}", op,
            context.workspace.bytes(), offset + bytes);
  }

  /// The part of thread `thread` when every thread has `bytes_per_thread`; sized before by require_workspace.
  static Scratch of_thread(const Context& context, const char* op, int thread, std::size_t bytes_per_thread) {
    return {context, op, static_cast<std::size_t>(thread) * bytes_per_thread, bytes_per_thread};
  }

  template <typename T>
  T* take(std::int64_t count) {
    std::byte* piece = next_;
    next_ += scratch_bytes<T>(count);
    return reinterpret_cast<T*>(piece);
  }

 private:
  std::byte* next_;
};

/// Throws Error naming `op` unless the workspace holds `bytes`; called before the tiles run, since those must not
/// throw.
inline void require_workspace(const Context& context, const char* op, std::size_t bytes) {
  require(bytes <= context.workspace.bytes(), "{}: workspace has {} bytes, needs {}", op, context.workspace.bytes(),
          bytes);
}

}  // namespace llama_zero::cpu
