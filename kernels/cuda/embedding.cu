// Embedding lookup, and its gradient without atomics on floats: positions are sorted by token with integer counters,
// then each row of the table sums its positions in ascending order. Most rows have no position: the launch whose one
// block adds up the counters clears those rows with its other blocks.
#include <algorithm>

#include "kernels/cuda/block.cuh"
#include "kernels/cuda/early_launch.cuh"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/pack.cuh"

namespace llama_zero::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kRows = 4;  ///< places that a block of the sum looks at

__device__ __forceinline__ bool in_vocabulary(std::int32_t token, std::int64_t vocab_size) {
  return token >= 0 && token < vocab_size;
}

/// Unit: what a thread copies at once. A token outside the vocabulary gives a row of NaN (all bits set), which no loss
/// survives: the check of the CPU backend would need a synchronisation here.
template <typename Unit>
__global__ void __launch_bounds__(kThreads) gather_rows_kernel(const std::int32_t* tokens, const Unit* table,
                                                               Unit* output, int row_units, std::int64_t vocab_size) {
  const std::int32_t token = tokens[blockIdx.x];
  Unit* to = output + static_cast<std::int64_t>(blockIdx.x) * row_units;
  if (!in_vocabulary(token, vocab_size)) {
    auto* bytes = reinterpret_cast<unsigned char*>(to);
    for (int i = static_cast<int>(threadIdx.x); i < row_units * static_cast<int>(sizeof(Unit)); i += kThreads) {
      bytes[i] = 0xff;
    }
    return;
  }
  const Unit* from = table + static_cast<std::int64_t>(token) * row_units;
#pragma unroll 4
  for (int i = static_cast<int>(threadIdx.x); i < row_units; i += kThreads) to[i] = from[i];
}

__global__ void __launch_bounds__(kThreads)
    count_tokens_kernel(const std::int32_t* tokens, std::int64_t count, std::int64_t vocab_size, std::int32_t* counts) {
  let_next_kernel_start();
  const std::int64_t t = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (t < count && in_vocabulary(tokens[t], vocab_size)) atomicAdd(counts + tokens[t], 1);
}

constexpr int kScanThreads = 1024;

/// Sum over the lanes before this one, itself included.
__device__ __forceinline__ std::int32_t inclusive_warp_scan(std::int32_t x, int lane) {
#pragma unroll
  for (int offset = 1; offset < 32; offset *= 2) {
    const std::int32_t before = __shfl_up_sync(kAllLanes, x, offset);
    if (lane >= offset) x += before;
  }
  return x;
}

/// The table, of whose rows those without a position become zero, by teams of kThreads threads.
struct EmptyRows {
  unsigned char* table;
  const std::int32_t* counts;
  std::int64_t rows, row_bytes;
  bool vectorised;  ///< rows are whole 16-byte accesses

  __device__ __forceinline__ void clear_row(std::int64_t row, int thread) const {
    unsigned char* to = table + row * row_bytes;
    if (vectorised) {
      for (std::int64_t i = 16 * thread; i < row_bytes; i += 16 * kThreads) {
        *reinterpret_cast<uint4*>(to + i) = uint4{0, 0, 0, 0};
      }
    } else {
      for (std::int64_t i = thread; i < row_bytes; i += kThreads) to[i] = 0;
    }
  }
  /// The rows of `team` among `teams`, eight at a time so that their counters are read at once.
  __device__ __forceinline__ void clear(int team, int teams) const {
    constexpr int kAtOnce = 8;
    const int thread = static_cast<int>(threadIdx.x) % kThreads;
    for (std::int64_t row = team; row < rows; row += static_cast<std::int64_t>(kAtOnce) * teams) {
      std::int32_t count[kAtOnce];
#pragma unroll
      for (int r = 0; r < kAtOnce; ++r) {
        const std::int64_t at = row + static_cast<std::int64_t>(r) * teams;
        count[r] = at < rows ? counts[at] : 1;
      }
#pragma unroll
      for (int r = 0; r < kAtOnce; ++r) {
        if (count[r] == 0) clear_row(row + static_cast<std::int64_t>(r) * teams, thread);
      }
    }
  }
};

/// start[v] = cursors[v] = sum of counts before v, v in [0, vocab_size]. One block, a contiguous share for each warp.
__global__ void __launch_bounds__(kScanThreads)
    scan_counts_kernel(const std::int32_t* counts, std::int64_t vocab_size, std::int32_t* start, std::int32_t* cursors,
                       const EmptyRows empty) {
  wait_for_earlier_kernel();
  let_next_kernel_start();
  if (blockIdx.x > 0) {
    constexpr int kTeams = kScanThreads / kThreads;
    const int team = (static_cast<int>(blockIdx.x) - 1) * kTeams + static_cast<int>(threadIdx.x) / kThreads;
    return empty.clear(team, (static_cast<int>(gridDim.x) - 1) * kTeams);
  }
  constexpr int kWarps = kScanThreads / 32;
  static_assert(kWarps == 32, "one warp scans the warps' totals");
  __shared__ std::int32_t totals[kWarps];
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const std::int64_t share = (vocab_size + kScanThreads - 1) / kScanThreads * 32;
  const std::int64_t first = min(share * warp, vocab_size);
  const std::int64_t last = min(first + share, vocab_size);
  std::int32_t mine = 0;
#pragma unroll 8
  for (std::int64_t v = first + lane; v < last; v += 32) mine += counts[v];
  mine = __reduce_add_sync(kAllLanes, mine);
  if (lane == 0) totals[warp] = mine;
  __syncthreads();
  if (warp == 0) totals[lane] = inclusive_warp_scan(totals[lane], lane);
  __syncthreads();
  std::int32_t position = totals[warp] - mine;
#pragma unroll 8
  for (std::int64_t base = first; base < last; base += 32) {
    const std::int64_t v = base + lane;
    const std::int32_t count = v < last ? counts[v] : 0;
    const std::int32_t inclusive = inclusive_warp_scan(count, lane);
    if (v < last) {
      start[v] = position + inclusive - count;
      cursors[v] = position + inclusive - count;
    }
    position += __shfl_sync(kAllLanes, inclusive, 31);
  }
  if (threadIdx.x == 0) start[vocab_size] = totals[kWarps - 1];
}

/// Puts every position into its token's range, in whatever order the atomics give.
__global__ void __launch_bounds__(kThreads)
    scatter_positions_kernel(const std::int32_t* tokens, std::int64_t count, std::int64_t vocab_size,
                             std::int32_t* cursors, std::int32_t* unsorted) {
  wait_for_earlier_kernel();
  let_next_kernel_start();
  const std::int64_t t = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (t < count && in_vocabulary(tokens[t], vocab_size)) {
    unsorted[atomicAdd(cursors + tokens[t], 1)] = static_cast<std::int32_t>(t);
  }
}

/// A place among the sorted positions; read in one access.
struct alignas(16) Place {
  std::int32_t position;
  std::int32_t token;
  std::int32_t end;  ///< of the token's places, in the first of them; else 0
};

/// Sorts inside each range, a warp a position: its place is the number of smaller ones, whatever the order was.
__global__ void __launch_bounds__(kThreads)
    rank_positions_kernel(const std::int32_t* tokens, std::int64_t count, std::int64_t vocab_size,
                          const std::int32_t* start, const std::int32_t* unsorted, Place* sorted) {
  wait_for_earlier_kernel();
  let_next_kernel_start();
  const std::int64_t t = (static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x) / 32;
  if (t >= count || !in_vocabulary(tokens[t], vocab_size)) return;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const std::int32_t token = tokens[t];
  const std::int32_t first = start[token];
  const std::int32_t last = start[token + 1];
  unsigned smaller = 0;
#pragma unroll 4
  for (std::int32_t i = first + lane; i < last; i += 32) smaller += unsorted[i] < t ? 1 : 0;
  smaller = __reduce_add_sync(kAllLanes, smaller);
  if (lane == 0) {
    sorted[first + static_cast<std::int32_t>(smaller)] = {static_cast<std::int32_t>(t), token, smaller == 0 ? last : 0};
  }
}

/// Adds positions [first, last) of N columns, in order; rows of grad_output are loaded eight ahead of the additions.
template <typename G, int N>
__device__ __forceinline__ void sum_positions(const G* columns, const Place* sorted, std::int32_t first,
                                              std::int32_t last, std::int64_t hidden_size, float (&total)[N]) {
  constexpr int kAhead = 8;
  for (std::int32_t i = first; i < last; i += kAhead) {
    Pack<G, N> rows[kAhead];
#pragma unroll
    for (int a = 0; a < kAhead; ++a) {
      const std::int32_t at = min(i + a, last - 1);  // beyond the last: the last again, not added
      rows[a] = load_pack<G, N>(columns + sorted[at].position * hidden_size);
    }
#pragma unroll
    for (int a = 0; a < kAhead; ++a) {
      float x[N];
      unpack(rows[a], x);
#pragma unroll
      for (int c = 0; c < N; ++c) total[c] += i + a < last ? x[c] : 0.0F;
    }
  }
}

/// A block: some columns of the rows whose places begin among kRows neighbouring places; a thread N columns. Most
/// tokens have one position, so what hides the latency is the first positions of several tokens read at once. `places`:
/// how many there are, of `capacity`.
template <typename G, typename D, int N>
__global__ void __launch_bounds__(kThreads, 4)
    sum_rows_kernel(const G* grad_output, const std::int32_t* places, const Place* sorted, std::int32_t capacity,
                    D* grad_table, std::int64_t hidden_size, bool accumulate) {
  const std::int64_t column = (static_cast<std::int64_t>(blockIdx.y) * kThreads + threadIdx.x) * N;
  if (column >= hidden_size) return;
  const auto first = static_cast<std::int32_t>(blockIdx.x) * kRows;
  wait_for_earlier_kernel();
  Place place[kRows];
#pragma unroll
  for (int r = 0; r < kRows; ++r) place[r] = sorted[min(first + r, capacity - 1)];
  const std::int32_t end = *places;
  Pack<G, N> rows[kRows];
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    if (first + r >= end) place[r].end = 0;
    if (place[r].end > 0) rows[r] = load_pack<G, N>(grad_output + place[r].position * hidden_size + column);
  }
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    if (place[r].end == 0) continue;
    float total[N];
    unpack(rows[r], total);
#pragma unroll
    for (float& x : total) x += 0.0F;  // a sum that begins at zero has no -0
    sum_positions<G, N>(grad_output + column, sorted, first + r + 1, place[r].end, hidden_size, total);
    D* to = grad_table + place[r].token * hidden_size + column;
    if (accumulate) {
      float old[N];
      load<D, N>(to, old);
#pragma unroll
      for (int c = 0; c < N; ++c) total[c] += old[c];
    }
    store<D, N>(to, total);
  }
}

struct Sorted {
  const std::int32_t* places;  ///< how many
  const Place* sorted;
};

/// Sorts the positions, and clears the rows of grad_table without any unless the sums are to be added.
Sorted sort_positions(const EmbeddingBackward& args, const Launch& launch) {
  const std::int64_t count = args.tokens_count;
  const std::int64_t vocab = args.vocab_size;
  Scratch scratch("embedding_backward", launch.workspace, workspace_bytes(args));
  auto* counts = scratch.take<std::int32_t>(vocab);
  auto* cursors = scratch.take<std::int32_t>(vocab);
  auto* start = scratch.take<std::int32_t>(vocab + 1);
  auto* unsorted = scratch.take<std::int32_t>(count);
  auto* sorted = scratch.take<Place>(count);
  const auto* tokens = pointer<std::int32_t>(args.tokens);
  const auto row_bytes = static_cast<std::int64_t>(size_of(args.grad_table.dtype())) * args.hidden_size;
  const EmptyRows empty{pointer<unsigned char>(args.grad_table), counts, vocab, row_bytes,
                        row_bytes % kAccessBytes == 0 && aligned16(args.grad_table.raw())};
  const auto clearing = args.accumulate ? 0U : 2U * static_cast<unsigned>(launch.multiprocessors);
  const auto blocks = static_cast<unsigned>(ceil_div(count, kThreads));
  LLAMA_ZERO_CUDA(cudaMemsetAsync(counts, 0, static_cast<std::size_t>(vocab) * sizeof(std::int32_t), launch.stream));
  if (count > 0) count_tokens_kernel<<<blocks, kThreads, 0, launch.stream>>>(tokens, count, vocab, counts);
  launch_early(scan_counts_kernel, 1 + clearing, kScanThreads, launch, counts, vocab, start, cursors, empty);
  if (count > 0) {
    launch_early(scatter_positions_kernel, blocks, kThreads, launch, tokens, count, vocab, cursors, unsorted);
    launch_early(rank_positions_kernel, static_cast<unsigned>(ceil_div(count, kThreads / 32)), kThreads, launch, tokens,
                 count, vocab, start, unsorted, sorted);
  }
  return {start + vocab, sorted};
}

template <typename G, typename D, int N>
void sum_rows(const EmbeddingBackward& args, const Sorted& sorted, const Launch& launch) {
  if (args.tokens_count == 0) return;
  const dim3 blocks(static_cast<unsigned>(ceil_div(args.tokens_count, kRows)),
                    static_cast<unsigned>(ceil_div(args.hidden_size, kThreads * N)));
  launch_early(sum_rows_kernel<G, D, N>, blocks, kThreads, launch, pointer<G>(args.grad_output), sorted.places,
               sorted.sorted, static_cast<std::int32_t>(args.tokens_count), pointer<D>(args.grad_table),
               args.hidden_size, args.accumulate);
}

template <typename Unit>
void gather_rows(const EmbeddingForward& args, std::size_t row_bytes, const Launch& launch) {
  gather_rows_kernel<Unit><<<static_cast<unsigned>(args.tokens_count), kThreads, 0, launch.stream>>>(
      pointer<std::int32_t>(args.tokens), pointer<Unit>(args.table), pointer<Unit>(args.output),
      static_cast<int>(row_bytes / sizeof(Unit)), args.vocab_size);
}

}  // namespace

std::size_t workspace_bytes(const EmbeddingBackward& args) {
  return 2 * Scratch::bytes<std::int32_t>(args.vocab_size) + Scratch::bytes<std::int32_t>(args.vocab_size + 1) +
         Scratch::bytes<std::int32_t>(args.tokens_count) + Scratch::bytes<Place>(args.tokens_count);
}

void run(const EmbeddingForward& args, const Launch& launch) {
  if (args.output.empty()) return;
  const std::size_t row_bytes = static_cast<std::size_t>(args.hidden_size) * size_of(args.table.dtype());
  if (row_bytes % kAccessBytes == 0 && aligned16(args.table.raw(), args.output.raw())) {
    gather_rows<uint4>(args, row_bytes, launch);
  } else {
    with_storage("embedding_forward", args.table.dtype(),
                 [&]<typename T>(T) { gather_rows<T>(args, row_bytes, launch); });
  }
  check_launch("embedding_forward");
}

void run(const EmbeddingBackward& args, const Launch& launch) {
  constexpr const char* kOp = "embedding_backward";
  if (args.grad_table.empty()) return;
  const Sorted sorted = sort_positions(args, launch);
  const bool vectorised = args.hidden_size % 8 == 0 && aligned16(args.grad_output.raw(), args.grad_table.raw());
  with_storage(kOp, args.grad_output.dtype(), [&]<typename G>(G) {
    with_storage(kOp, args.grad_table.dtype(), [&]<typename D>(D) {
      if (vectorised) {
        sum_rows<G, D, kPackOf<G>>(args, sorted, launch);
      } else {
        sum_rows<G, D, 1>(args, sorted, launch);
      }
    });
  });
  check_launch(kOp);
}

}  // namespace llama_zero::cuda
