#include "kernels/cuda/attention/cudnn_prepare.cuh"

#include <algorithm>

#include "kernels/cuda/block.cuh"
#include "kernels/cuda/launch.h"

namespace llama_zero::cuda {
namespace {

constexpr int kGroups = 32;  // of one launch
constexpr int kSlotThreads = 256;

struct Group {
  int above, longest, first, count, slots, entry;
};
struct Groups {
  Group groups[kGroups];
};

__device__ __forceinline__ void write_slot(const SlotArrays& to, const SlotStrides& strides, int entry,
                                           std::int32_t start, std::int32_t length) {
  to.lengths[entry] = length;
  to.qkv[entry] = start * strides.qkv;
  to.output[entry] = start * strides.output;
  to.statistics[entry] = start * strides.statistics;
}

/// A block a group: it walks over all documents and counts the group's.
__global__ void __launch_bounds__(kSlotThreads)
    prepare_slots_kernel(const std::int32_t* cu_seqlens, int documents, const Groups all, SlotStrides strides,
                         SlotArrays arrays) {
  __shared__ int counts[2][kSlotThreads / 32];
  const Group group = all.groups[blockIdx.x];
  const int thread = static_cast<int>(threadIdx.x);
  const int warp = thread / 32;
  const int lane = thread % 32;
  int before = 0;  // documents of the group seen so far
  for (int base = 0, buffer = 0; base < documents; base += kSlotThreads, buffer ^= 1) {
    const int d = base + thread;
    const std::int32_t start = d < documents ? cu_seqlens[d] : 0;
    const std::int32_t length = d < documents ? cu_seqlens[d + 1] - start : 0;
    const bool mine = length > group.above && length <= group.longest;
    const unsigned ballot = __ballot_sync(kAllLanes, mine);
    if (lane == 0) counts[buffer][warp] = __popc(ballot);
    __syncthreads();
    int place = before + __popc(ballot & ((1U << lane) - 1U)) - group.first;
    for (int w = 0; w < kSlotThreads / 32; ++w) {
      before += counts[buffer][w];
      if (w < warp) place += counts[buffer][w];
    }
    if (mine && place >= 0 && place < group.count) write_slot(arrays, strides, group.entry + place, start, length);
  }
  const std::int32_t end = cu_seqlens[documents];
  for (int slot = group.count + thread; slot <= group.slots; slot += kSlotThreads) {
    write_slot(arrays, strides, group.entry + slot, end, 0);
  }
}

constexpr int kSquare = 32;
constexpr int kSquareRows = 8;  // rows of the square that a block reads at once

/// kByHead: to [heads, tokens], else to pieces [tokens, heads_of_group]; a block a square, turned in shared memory.
template <bool kByHead>
__global__ void __launch_bounds__(kSquare* kSquareRows)
    turn_statistics_kernel(const float* from, float* to, int attended, int tokens, int heads, int heads_of_group) {
  __shared__ float square[kSquare][kSquare + 1];
  const int first_token = static_cast<int>(blockIdx.x) * kSquare;
  const int first_head = static_cast<int>(blockIdx.y) * kSquare;
  const int x = static_cast<int>(threadIdx.x);
  for (int y = static_cast<int>(threadIdx.y); y < kSquare; y += kSquareRows) {
    const int token = first_token + (kByHead ? y : x);
    const int head = first_head + (kByHead ? x : y);
    if (token < attended && head < heads) {
      square[y][x] = from[kByHead ? static_cast<std::int64_t>(token) * heads + head
                                  : static_cast<std::int64_t>(head) * tokens + token];
    }
  }
  __syncthreads();
  for (int y = static_cast<int>(threadIdx.y); y < kSquare; y += kSquareRows) {
    const int token = first_token + (kByHead ? x : y);
    const int head = first_head + (kByHead ? y : x);
    if (head >= heads) continue;
    if constexpr (kByHead) {
      if (token < tokens) to[static_cast<std::int64_t>(head) * tokens + token] = token < attended ? square[x][y] : 0.0F;
    } else if (token < attended) {
      const int first_of_group = head / heads_of_group * heads_of_group;
      to[static_cast<std::int64_t>(first_of_group) * tokens + static_cast<std::int64_t>(token) * heads_of_group + head -
         first_of_group] = square[x][y];
    }
  }
}

template <bool kByHead>
void turn_statistics(const float* from, float* to, std::int64_t attended, std::int64_t tokens, std::int64_t heads,
                     std::int64_t heads_of_group, cudaStream_t stream) {
  const dim3 blocks(static_cast<unsigned>(ceil_div(tokens, kSquare)), static_cast<unsigned>(ceil_div(heads, kSquare)));
  turn_statistics_kernel<kByHead><<<blocks, dim3(kSquare, kSquareRows), 0, stream>>>(
      from, to, static_cast<int>(attended), static_cast<int>(tokens), static_cast<int>(heads),
      static_cast<int>(heads_of_group));
}

}  // namespace

void prepare_slots(const std::int32_t* cu_seqlens, int documents, const std::vector<CudnnDocuments>& groups,
                   const SlotStrides& strides, const SlotArrays& arrays, cudaStream_t stream) {
  int entry = 0;
  for (std::size_t first = 0; first < groups.size(); first += kGroups) {
    const std::size_t here = std::min<std::size_t>(kGroups, groups.size() - first);
    Groups launched{};
    for (std::size_t g = 0; g < here; ++g) {
      const CudnnDocuments& from = groups[first + g];
      launched.groups[g] = {static_cast<int>(from.above), static_cast<int>(from.longest), static_cast<int>(from.first),
                            static_cast<int>(from.count), static_cast<int>(from.slots),   entry};
      entry += static_cast<int>(from.slots) + 1;
    }
    prepare_slots_kernel<<<static_cast<unsigned>(here), kSlotThreads, 0, stream>>>(cu_seqlens, documents, launched,
                                                                                   strides, arrays);
  }
}

void statistics_by_head(const float* by_token, std::int64_t attended, std::int64_t tokens, std::int64_t heads,
                        float* by_head, cudaStream_t stream) {
  turn_statistics<true>(by_token, by_head, attended, tokens, heads, heads, stream);
}

void statistics_by_token(const float* by_head, std::int64_t attended, std::int64_t tokens, std::int64_t heads,
                         std::int64_t heads_of_group, float* by_token, cudaStream_t stream) {
  turn_statistics<false>(by_head, by_token, attended, tokens, heads, heads_of_group, stream);
}

}  // namespace llama_zero::cuda
