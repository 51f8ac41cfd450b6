// Which calls to cuDNN compute the attention of a pass: documents grouped by length, heads split, so that the
// backward's scratch stays below a fixed limit and few graphs serve all passes. Host only.
//
// cuDNN's deterministic backward keeps the score gradients of a call: slots x heads x longest^2 numbers of 16 bits, of
// the declared longest, and is compiled anew for every declared longest. So that is a power of two; documents of up to
// kTogether tokens share calls, longer ones go with those of their power of two; and the number of slots is rounded up
// to 1, 1.5 x 2^n or 2^n (slots without a document cost little).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace llama_zero::cuda {

inline constexpr std::int64_t kTogether = 512;
inline constexpr std::int64_t kShortestClass = 128;
/// What a call may take at most: 1 GiB of score gradients (32 heads of one document of 4,096 tokens), and what goes with
/// them.
inline constexpr std::size_t kCudnnScratch = std::size_t{1152} << 20U;
/// What cuDNN asks for besides.
inline constexpr std::size_t kCudnnSlack = std::size_t{8} << 20U;

struct CudnnHeads {
  std::int64_t query, kv, dim;
};

/// Documents `first`, `first` + 1, ... `first` + count - 1 of those with more than `above` and at most `longest`
/// tokens.
struct CudnnDocuments {
  std::int64_t above, longest;
  std::int64_t first, count;
  std::int64_t slots;  ///< >= count
};

/// Each group of documents is computed for each group of heads: kv_heads key-value heads and the query heads they
/// serve.
struct CudnnCalls {
  std::vector<CudnnDocuments> documents;
  std::int64_t kv_heads = 0;  ///< of a call: divides the number of key-value heads; 0: the documents are too long
};

/// `starts`: of the attended documents, and the end of the last. Documents without a token are in no call.
CudnnCalls cudnn_forward_calls(std::span<const std::int32_t> starts, const CudnnHeads& heads);
CudnnCalls cudnn_backward_calls(std::span<const std::int32_t> starts, std::int64_t tokens, const CudnnHeads& heads);

/// Upper bound of what cuDNN needs for a backward call; measured for 9.14 and 9.19, checked when a graph is built.
std::size_t cudnn_backward_scratch(std::int64_t slots, std::int64_t longest, std::int64_t query_heads,
                                   std::int64_t kv_heads, std::int64_t head_dim);

/// The most that any call of cudnn_backward_calls needs, whatever the documents.
std::size_t cudnn_backward_limit(std::int64_t tokens, const CudnnHeads& heads);

/// Upper bound of the entries (slots + 1 for each group of documents) of either pass.
std::int64_t cudnn_slot_limit(std::int64_t tokens);

}  // namespace llama_zero::cuda
