#include "kernels/cuda/attention/flash.h"

#include <algorithm>
#include <type_traits>

#include "kernels/cuda/attention/flash_width.cuh"

namespace llama_zero::cuda {
namespace {

template <typename T, typename Args>
FlashCall<T> flash_call(const Args& args) {
  FlashCall<T> call{};
  call.qkv = pointer<T>(args.qkv);
  call.cu_seqlens = pointer<std::int32_t>(args.documents.cu_seqlens);
  call.documents = static_cast<int>(args.documents.host_cu_seqlens.size()) - 1;
  call.tokens = static_cast<int>(args.tokens_count);
  call.attended = static_cast<int>(args.documents.attended_tokens);
  call.query_heads = static_cast<int>(args.query_heads);
  call.kv_heads = static_cast<int>(args.kv_heads);
  call.head_dim = static_cast<int>(args.head_dim);
  call.scale = static_cast<float>(args.scale);
  return call;
}

/// Calls f with a value of the 16-bit storage type and the width of tiles that holds head_dim.
template <typename F>
void with_tile(DType storage, std::int64_t head_dim, const F& f) {
  const auto with_width = [&]<typename T>(T value) {
    if (head_dim <= 64) return f(value, std::integral_constant<int, 64>{});
    if (head_dim <= 128) return f(value, std::integral_constant<int, 128>{});
    return f(value, std::integral_constant<int, 256>{});
  };
  if (storage == DType::kF16) return with_width(__half{});
  return with_width(__nv_bfloat16{});
}

/// Where a block lacks the shared memory of the smallest tiles, the plain kernels serve; forward and backward alike.
bool fits(std::int64_t head_dim, const Launch& launch) {
  if (head_dim <= 64) return flash_fits<64>(launch);
  if (head_dim <= 128) return flash_fits<128>(launch);
  return flash_fits<256>(launch);
}

class Flash final : public Attention {
 public:
  bool supports(const AttentionShape& shape) const override {
    return (shape.storage == DType::kF16 || shape.storage == DType::kBF16) && shape.head_dim % 8 == 0 &&
           shape.head_dim <= 256;
  }

  std::size_t workspace_bytes(const AttentionForward& args) const override { return plain_->workspace_bytes(args); }
  std::size_t workspace_bytes(const AttentionBackward& args) const override {
    return std::max(plain_->workspace_bytes(args), Scratch::bytes<float>(args.query_heads * args.tokens_count));
  }

  void forward(const AttentionForward& args, const Launch& launch) override {
    if (args.tokens_count == 0) return;
    require(args.scale > 0.0, "attention_forward: scale {} is not positive", args.scale);
    if (!aligned16(args.qkv.raw(), args.output.raw()) || !fits(args.head_dim, launch)) {
      return plain_->forward(args, launch);
    }
    with_tile(args.qkv.dtype(), args.head_dim, [&]<typename T, int kWidth>(T, std::integral_constant<int, kWidth>) {
      auto call = flash_call<T>(args);
      call.result = pointer<T>(args.output);
      call.log_sum_exp = pointer<float>(args.log_sum_exp);
      flash_forward<kWidth>(call, args.documents.longest, launch);
    });
  }

  void backward(const AttentionBackward& args, const Launch& launch) override {
    if (args.tokens_count == 0) return;
    if (!aligned16(args.qkv.raw(), args.output.raw(), args.grad_output.raw(), args.grad_qkv.raw()) ||
        !fits(args.head_dim, launch)) {
      return plain_->backward(args, launch);
    }
    Scratch scratch("attention_backward", launch.workspace, workspace_bytes(args));
    auto* delta = scratch.take<float>(args.query_heads * args.tokens_count);
    with_tile(args.qkv.dtype(), args.head_dim, [&]<typename T, int kWidth>(T, std::integral_constant<int, kWidth>) {
      auto call = flash_call<T>(args);
      call.output = pointer<T>(args.output);
      call.grad_output = pointer<T>(args.grad_output);
      call.result = pointer<T>(args.grad_qkv);
      // Read only by the backward kernels.
      call.log_sum_exp = const_cast<float*>(pointer<float>(args.log_sum_exp));
      call.delta = delta;
      flash_backward<kWidth>(call, args.documents.longest, launch);
    });
  }

 private:
  std::unique_ptr<Attention> plain_ = make_plain_attention();
};

}  // namespace

std::unique_ptr<Attention> make_flash_attention() { return std::make_unique<Flash>(); }

}  // namespace llama_zero::cuda
