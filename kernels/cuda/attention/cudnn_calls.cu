#include "kernels/cuda/attention/cudnn_calls.h"

#include <algorithm>
#include <bit>

namespace llama_zero::cuda {
namespace {

/// The least that a pass may use, so that a short pass of many documents is one call.
constexpr std::size_t kLeastScratch = std::size_t{64} << 20U;

std::int64_t length_class(std::int64_t length) {
  return std::max(kShortestClass, static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(length))));
}

std::int64_t slots_up(std::int64_t count) {
  const auto power = static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(count)));
  return power >= 4 && count <= power / 4 * 3 ? power / 4 * 3 : power;
}
std::int64_t slots_down(std::int64_t count) {
  const auto power = static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(count)));
  return power >= 2 && count >= power / 2 * 3 ? power / 2 * 3 : power;
}

struct Lengths {
  std::int64_t count = 0;  ///< documents with a token
  std::int64_t longest = 0;
};

/// Of the documents with more than `above` and at most `limit` tokens.
Lengths lengths_of(std::span<const std::int32_t> starts, std::int64_t above, std::int64_t limit) {
  Lengths lengths;
  for (std::size_t d = 0; d + 1 < starts.size(); ++d) {
    const std::int64_t length = std::int64_t{starts[d + 1]} - starts[d];
    if (length <= above || length > limit) continue;
    ++lengths.count;
    lengths.longest = std::max(lengths.longest, length);
  }
  return lengths;
}

std::size_t scratch_of_slot(std::int64_t longest, std::int64_t kv_heads, const CudnnHeads& heads) {
  return cudnn_backward_scratch(1, longest, heads.query / heads.kv * kv_heads, kv_heads, heads.dim);
}

/// Key-value heads of a call, so that one document of `longest` tokens fits: the most that divide all; 0 if none.
std::int64_t heads_that_fit(std::int64_t longest, const CudnnHeads& heads) {
  for (std::int64_t kv_heads = heads.kv; kv_heads > 0; --kv_heads) {
    if (heads.kv % kv_heads == 0 && scratch_of_slot(longest, kv_heads, heads) <= kCudnnScratch) return kv_heads;
  }
  return 0;
}

}  // namespace

std::size_t cudnn_backward_scratch(std::int64_t slots, std::int64_t longest, std::int64_t query_heads,
                                   std::int64_t kv_heads, std::int64_t head_dim) {
  std::int64_t numbers = longest * longest + 2 * longest;          // score gradients, and row sums in fp32
  if (query_heads != kv_heads) numbers += 2 * longest * head_dim;  // keys' and values' gradients by query head
  return static_cast<std::size_t>(2 * slots * query_heads * numbers);
}

std::size_t cudnn_backward_limit(std::int64_t tokens, const CudnnHeads& heads) {
  const std::size_t one = scratch_of_slot(length_class(tokens), heads.kv, heads);
  return std::min(kCudnnScratch, std::max(one, kLeastScratch));
}

std::int64_t cudnn_slot_limit(std::int64_t tokens) {
  // A group of n documents has at most 1.5 n slots (n = 1: one), and one entry more.
  return tokens * 5 / 2 + 2;
}

CudnnCalls cudnn_forward_calls(std::span<const std::int32_t> starts, const CudnnHeads& heads) {
  const Lengths all = lengths_of(starts, 0, INT32_MAX);
  if (all.count == 0) return {{}, heads.kv};
  return {{{0, length_class(all.longest), 0, all.count, slots_up(all.count)}}, heads.kv};
}

CudnnCalls cudnn_backward_calls(std::span<const std::int32_t> starts, std::int64_t tokens, const CudnnHeads& heads) {
  CudnnCalls calls;
  const std::int64_t longest = length_class(lengths_of(starts, 0, INT32_MAX).longest);
  const std::size_t limit = cudnn_backward_limit(tokens, heads);
  calls.kv_heads = heads_that_fit(longest, heads);
  if (calls.kv_heads == 0) return calls;
  for (std::int64_t above = 0, upto = kTogether; above < longest; above = upto, upto *= 2) {
    const Lengths lengths = lengths_of(starts, above, upto);
    if (lengths.count == 0) continue;
    const std::int64_t declared = length_class(lengths.longest);
    const auto fitting = static_cast<std::int64_t>(limit / scratch_of_slot(declared, calls.kv_heads, heads));
    const std::int64_t most = slots_down(std::max<std::int64_t>(fitting, 1));
    for (std::int64_t first = 0; first < lengths.count; first += most) {
      const std::int64_t count = std::min(most, lengths.count - first);
      calls.documents.push_back({above, declared, first, count, slots_up(count)});
    }
  }
  return calls;
}

}  // namespace llama_zero::cuda
