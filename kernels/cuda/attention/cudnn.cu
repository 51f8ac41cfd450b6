#include "kernels/cuda/attention/cudnn.h"

#include <algorithm>

#include "core/log.h"
#include "kernels/cuda/attention/cudnn_calls.h"
#include "kernels/cuda/attention/cudnn_graphs.h"
#include "kernels/cuda/attention/cudnn_prepare.cuh"
#include "kernels/cuda/attention/flash.h"

namespace llama_zero::cuda {
namespace {

constexpr int kHopper = 90;

template <typename Args>
CudnnHeads heads_of(const Args& args) {
  return {args.query_heads, args.kv_heads, args.head_dim};
}

/// Starts of the attended documents and the end of the last.
std::span<const std::int32_t> attended_starts(const Documents& documents) {
  const auto starts = documents.host_cu_seqlens;
  std::size_t entries = starts.size();
  while (entries > 1 && starts[entries - 1] > documents.attended_tokens) --entries;
  return starts.first(entries);
}

/// A call's part of the workspace: lengths and offsets of its slots, statistics token by token, and cuDNN's own
/// scratch.
struct Pieces {
  SlotArrays arrays;
  float* statistics;
  std::byte* scratch;
  std::size_t scratch_bytes;

  static std::size_t bytes(std::int64_t tokens, std::int64_t query_heads, std::size_t scratch_bytes) {
    const std::int64_t entries = cudnn_slot_limit(tokens);
    return Scratch::bytes<std::int32_t>(entries) + 3 * Scratch::bytes<std::int64_t>(entries) +
           Scratch::bytes<float>(tokens * query_heads) + scratch_bytes;
  }
  Pieces(const char* op, const View& workspace, std::int64_t tokens, std::int64_t query_heads,
         std::size_t bytes_of_cudnn)
      : scratch_bytes(bytes_of_cudnn) {
    Scratch pieces(op, workspace, bytes(tokens, query_heads, bytes_of_cudnn));
    const std::int64_t entries = cudnn_slot_limit(tokens);
    arrays = {pieces.take<std::int32_t>(entries), pieces.take<std::int64_t>(entries),
              pieces.take<std::int64_t>(entries), pieces.take<std::int64_t>(entries)};
    statistics = pieces.take<float>(tokens * query_heads);
    scratch = pieces.take<std::byte>(static_cast<std::int64_t>(bytes_of_cudnn));
  }
};

class Cudnn final : public Attention {
 public:
  explicit Cudnn(bool automatic) : automatic_(automatic) {
    if (!automatic) graphs_ = make_cudnn_graphs();
  }

  bool supports(const AttentionShape& shape) const override {
    const bool taken = (shape.storage == DType::kF16 || shape.storage == DType::kBF16) && shape.head_dim % 8 == 0 &&
                       shape.head_dim <= 128;
    if (automatic_) return taken && (shape.head_dim == 64 || shape.head_dim == 128);
    require(taken,
            "attention: cudnn takes fp16 and bf16 and a head_dim of at most 128, not {} and {}; use auto or flash",
            name_of(shape.storage), shape.head_dim);
    return true;
  }

  std::size_t workspace_bytes(const AttentionForward& args) const override {
    return std::max(flash_->workspace_bytes(args), Pieces::bytes(args.tokens_count, args.query_heads, kCudnnSlack));
  }
  std::size_t workspace_bytes(const AttentionBackward& args) const override {
    const std::size_t flash = flash_->workspace_bytes(args);
    if (automatic_ && !may_be_faster(args)) return flash;
    return std::max(flash, Pieces::bytes(args.tokens_count, args.query_heads, backward_scratch(args)));
  }

  void forward(const AttentionForward& args, const Launch& launch) override {
    const auto starts = attended_starts(args.documents);
    const CudnnCalls calls = cudnn_forward_calls(starts, heads_of(args));
    const bool aligned = aligned16(args.qkv.raw(), args.output.raw());
    if (!aligned || !takes(args, starts, launch) || !graphs_ready(args, calls, false, kCudnnSlack)) {
      return flash_->forward(args, launch);
    }
    const Pieces pieces("attention_forward", launch.workspace, args.tokens_count, args.query_heads, kCudnnSlack);
    run_calls(args, calls, pieces, launch, {});
    const auto attended = args.documents.attended_tokens;
    const std::int64_t padding = args.tokens_count - attended;
    statistics_by_head(pieces.statistics, attended, args.tokens_count, args.query_heads,
                       pointer<float>(args.log_sum_exp), launch.stream);
    clear_rows(args.output, attended, padding, args.query_heads * args.head_dim, launch);
    check_launch("attention_forward");
  }

  void backward(const AttentionBackward& args, const Launch& launch) override {
    const auto starts = attended_starts(args.documents);
    const CudnnCalls calls = cudnn_backward_calls(starts, args.tokens_count, heads_of(args));
    const bool aligned = aligned16(args.qkv.raw(), args.output.raw(), args.grad_output.raw(), args.grad_qkv.raw());
    const std::size_t scratch = backward_scratch(args);
    if (!aligned || !takes(args, starts, launch) || !graphs_ready(args, calls, true, scratch)) {
      return flash_->backward(args, launch);
    }
    const Pieces pieces("attention_backward", launch.workspace, args.tokens_count, args.query_heads, scratch);
    const std::int64_t attended = args.documents.attended_tokens;
    statistics_by_token(pointer<float>(args.log_sum_exp), attended, args.tokens_count, args.query_heads,
                        args.query_heads / args.kv_heads * calls.kv_heads, pieces.statistics, launch.stream);
    run_calls(args, calls, pieces, launch, {args.grad_output.raw(), args.grad_qkv.raw()});
    clear_rows(args.grad_qkv, attended, args.tokens_count - attended, qkv_width(args), launch);
    check_launch("attention_backward");
  }

 private:
  struct Gradients {
    const std::byte* output = nullptr;
    std::byte* qkv = nullptr;
  };

  template <typename Args>
  static std::int64_t qkv_width(const Args& args) {
    return (args.query_heads + 2 * args.kv_heads) * args.head_dim;
  }
  static std::size_t backward_scratch(const AttentionBackward& args) {
    return cudnn_backward_limit(args.tokens_count, heads_of(args)) + kCudnnSlack;
  }

  /// Whether cuDNN shall compute the call, as far as its arguments decide; Error where it must and cannot.
  template <typename Args>
  bool takes(const Args& args, std::span<const std::int32_t> starts, const Launch& launch) {
    const auto longest_calls = cudnn_backward_calls(starts, args.tokens_count, heads_of(args));
    require(automatic_ || longest_calls.kv_heads > 0,
            "attention: cudnn would need more than {} MiB of scratch for documents of {} tokens; use auto or flash",
            kCudnnScratch >> 20U, args.documents.longest);
    if (longest_calls.documents.empty()) return false;
    if (!automatic_) return true;
    if (failed_ || launch.compute_capability < kHopper || !cudnn_is_faster(args, starts)) return false;
    if (graphs_ == nullptr) graphs_ = make_cudnn_graphs();
    return true;
  }

  /// The rule of `auto`, from the table of docs/performance.md: heads of 128, cuDNN; heads of 64, cuDNN for the forward
  /// of long documents; gradients of grouped queries, cuDNN for long documents. Few tokens or documents of a few tokens
  /// each do not repay cuDNN's fixed work.
  static bool cudnn_is_faster(const AttentionForward& args, std::span<const std::int32_t> starts) {
    return mean_is_at_least(args.head_dim == 128 ? kShortestMean : kLongMean, args, starts);
  }
  static bool cudnn_is_faster(const AttentionBackward& args, std::span<const std::int32_t> starts) {
    return may_be_faster(args) &&
           mean_is_at_least(args.query_heads == args.kv_heads ? kShortestMean : kLongMean, args, starts);
  }
  static bool may_be_faster(const AttentionBackward& args) { return args.head_dim == 128; }

  template <typename Args>
  static bool mean_is_at_least(std::int64_t length, const Args& args, std::span<const std::int32_t> starts) {
    const auto documents = static_cast<std::int64_t>(starts.size()) - 1;
    return args.documents.attended_tokens >= kFewestTokens && args.documents.attended_tokens >= documents * length;
  }

  /// Builds the graphs of all calls that are new. False, for ever, when the library fails to and flash may serve.
  template <typename Args>
  bool graphs_ready(const Args& args, const CudnnCalls& calls, bool backward, std::size_t scratch) {
    try {
      for (const CudnnDocuments& documents : calls.documents) {
        const std::size_t needed = graphs_->scratch_bytes(shape_of(args, documents, calls.kv_heads, backward));
        require(needed <= scratch, "{} wants {} bytes of scratch for an attention that was planned with {}",
                cudnn_status().text, needed, scratch);
      }
      return true;
    } catch (const Error& error) {
      if (!automatic_) throw;
      failed_ = true;
      log::warning("attention: flash serves instead of cuDNN: {}", error.what());
      return false;
    }
  }

  template <typename Args>
  static CudnnShape shape_of(const Args& args, const CudnnDocuments& documents, std::int64_t kv_heads, bool backward) {
    return {backward,
            args.qkv.dtype(),
            documents.slots,
            documents.longest,
            args.query_heads / args.kv_heads * kv_heads,
            kv_heads,
            args.head_dim,
            qkv_width(args),
            args.query_heads * args.head_dim,
            args.scale};
  }

  template <typename Args>
  void run_calls(const Args& args, const CudnnCalls& calls, const Pieces& pieces, const Launch& launch,
                 const Gradients& gradients) {
    const std::int64_t group = args.query_heads / args.kv_heads;
    const SlotStrides strides{qkv_width(args), args.query_heads * args.head_dim, group * calls.kv_heads};
    const auto starts = attended_starts(args.documents);
    prepare_slots(pointer<std::int32_t>(args.documents.cu_seqlens), static_cast<int>(starts.size()) - 1,
                  calls.documents, strides, pieces.arrays, launch.stream);
    const std::size_t element = size_of(args.qkv.dtype());
    const auto at = [&](auto* base, std::int64_t head) {
      return base == nullptr ? nullptr : base + static_cast<std::size_t>(head * args.head_dim) * element;
    };
    std::int64_t entry = 0;
    for (const CudnnDocuments& documents : calls.documents) {
      const CudnnShape shape = shape_of(args, documents, calls.kv_heads, gradients.qkv != nullptr);
      for (std::int64_t kv = 0; kv < args.kv_heads; kv += calls.kv_heads) {
        const std::int64_t query = kv * group;
        const std::int64_t key = args.query_heads + kv;
        const std::int64_t value = key + args.kv_heads;
        const CudnnBuffers buffers{.query = at(args.qkv.raw(), query),
                                   .key = at(args.qkv.raw(), key),
                                   .value = at(args.qkv.raw(), value),
                                   .output = at(args.output.raw(), query),
                                   .statistics = pieces.statistics + query * args.tokens_count,
                                   .grad_output = at(gradients.output, query),
                                   .grad_query = at(gradients.qkv, query),
                                   .grad_key = at(gradients.qkv, key),
                                   .grad_value = at(gradients.qkv, value),
                                   .lengths = pieces.arrays.lengths + entry,
                                   .qkv_offsets = pieces.arrays.qkv + entry,
                                   .output_offsets = pieces.arrays.output + entry,
                                   .statistics_offsets = pieces.arrays.statistics + entry};
        graphs_->run(shape, buffers, pieces.scratch, launch.stream);
      }
      entry += documents.slots + 1;
    }
  }

  static void clear_rows(const View& rows, std::int64_t first, std::int64_t count, std::int64_t width,
                         const Launch& launch) {
    if (count == 0) return;
    const View cleared = rows.slice(first * width, count * width);
    LLAMA_ZERO_CUDA(cudaMemsetAsync(cleared.raw(), 0, cleared.bytes(), launch.stream));
  }

  static constexpr std::int64_t kFewestTokens = 1024;
  static constexpr std::int64_t kShortestMean = 64;
  static constexpr std::int64_t kLongMean = 1024;

  bool automatic_;
  bool failed_ = false;
  std::unique_ptr<CudnnGraphs> graphs_;
  std::unique_ptr<Attention> flash_ = make_flash_attention();
};

}  // namespace

std::unique_ptr<Attention> make_cudnn_attention(bool automatic) { return std::make_unique<Cudnn>(automatic); }

}  // namespace llama_zero::cuda
