// The plain implementation of attention: fp32 arithmetic on the CUDA cores for every storage type and head_dim.
#include "kernels/cuda/attention/attention.h"
#include "kernels/cuda/attention/plain_backward.cuh"
#include "kernels/cuda/attention/plain_forward.cuh"

namespace llama_zero::cuda {
namespace {

template <typename T, typename Args>
PlainAttention<T> plain_arguments(const Args& args) {
  PlainAttention<T> plain{};
  plain.qkv = pointer<T>(args.qkv);
  plain.cu_seqlens = pointer<std::int32_t>(args.documents.cu_seqlens);
  plain.documents = static_cast<int>(args.documents.host_cu_seqlens.size()) - 1;
  plain.tokens = static_cast<int>(args.tokens_count);
  plain.attended = static_cast<int>(args.documents.attended_tokens);
  plain.query_heads = static_cast<int>(args.query_heads);
  plain.kv_heads = static_cast<int>(args.kv_heads);
  plain.head_dim = static_cast<int>(args.head_dim);
  plain.scale = static_cast<float>(args.scale);
  return plain;
}

template <typename T>
using PlainKernel = void (*)(PlainAttention<T>);

/// A block a tile of tokens and head.
template <typename T>
void launch_tiles(PlainKernel<T> kernel, const PlainAttention<T>& plain, int heads, std::size_t shared,
                  cudaStream_t stream) {
  LLAMA_ZERO_CUDA(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared)));
  const dim3 blocks(static_cast<unsigned>(ceil_div(plain.tokens, kTile)), static_cast<unsigned>(heads));
  kernel<<<blocks, kTileThreads, shared, stream>>>(plain);
}

class Plain final : public Attention {
 public:
  bool supports(const AttentionShape&) const override { return true; }

  std::size_t workspace_bytes(const AttentionForward&) const override { return 0; }
  std::size_t workspace_bytes(const AttentionBackward& args) const override {
    return Scratch::bytes<float>(args.query_heads * args.tokens_count);
  }

  void forward(const AttentionForward& args, const Launch& launch) override {
    if (args.tokens_count == 0) return;
    with_storage("attention_forward", args.qkv.dtype(), [&]<typename T>(T) {
      auto plain = plain_arguments<T>(args);
      plain.result = pointer<T>(args.output);
      plain.log_sum_exp_out = pointer<float>(args.log_sum_exp);
      plain.aligned = aligned16(plain.qkv);
      const PlainKernel<T> kernel = args.head_dim <= 128 ? plain_forward_kernel<T, 128> : plain_forward_kernel<T, 256>;
      launch_tiles(kernel, plain, plain.query_heads, plain_forward_shared(plain.head_dim), launch.stream);
    });
    check_launch("attention_forward");
  }

  void backward(const AttentionBackward& args, const Launch& launch) override {
    if (args.tokens_count == 0) return;
    Scratch scratch("attention_backward", launch.workspace, workspace_bytes(args));
    auto* delta = scratch.take<float>(args.query_heads * args.tokens_count);
    with_storage("attention_backward", args.qkv.dtype(), [&]<typename T>(T) {
      auto plain = plain_arguments<T>(args);
      plain.output = pointer<T>(args.output);
      plain.grad_output = pointer<T>(args.grad_output);
      plain.log_sum_exp = pointer<float>(args.log_sum_exp);
      plain.delta = delta;
      plain.result = pointer<T>(args.grad_qkv);
      plain.aligned = aligned16(plain.qkv, plain.grad_output);
      const std::int64_t pairs = args.documents.attended_tokens * args.query_heads;
      if (pairs > 0) {
        const auto blocks = static_cast<unsigned>(ceil_div(pairs, kTileThreads / 32));
        plain_delta_kernel<T><<<blocks, kTileThreads, 0, launch.stream>>>(plain, delta);
      }
      const std::size_t shared = plain_backward_shared(plain.head_dim);
      const bool small = args.head_dim <= 128;
      const PlainKernel<T> key_value = small ? plain_key_value_kernel<T, 128> : plain_key_value_kernel<T, 256>;
      const PlainKernel<T> query = small ? plain_query_kernel<T, 128> : plain_query_kernel<T, 256>;
      launch_tiles(key_value, plain, plain.kv_heads, shared, launch.stream);
      launch_tiles(query, plain, plain.query_heads, shared, launch.stream);
    });
    check_launch("attention_backward");
  }
};

}  // namespace

std::unique_ptr<Attention> make_plain_attention() { return std::make_unique<Plain>(); }

}  // namespace llama_zero::cuda
