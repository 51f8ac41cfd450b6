// The CUDA backend: checks the arguments, makes the device current and gives the kernels their stream and workspace.
#include "kernels/cuda/cuda_ops.h"

#include <optional>

#include "core/cuda/cuda_device.h"
#include "kernels/check.h"
#include "kernels/cuda/attention/attention.h"
#include "kernels/cuda/gemm.h"
#include "kernels/cuda/kernels.h"

namespace llama_zero {
namespace {

class CudaOps final : public Ops {
 public:
  CudaOps(std::optional<CudaProperties> properties, const CudaOpsOptions& options)
      : properties_(properties),
        gemm_(options.gemm_algorithms),
        attentions_(cuda::attention_implementations(options.attention)) {}

  void embedding_forward(const EmbeddingForward& args, Stream& stream) override { checked_run(args, stream); }
  void embedding_backward(const EmbeddingBackward& args, Stream& stream) override { checked_run(args, stream); }
  void rmsnorm_forward(const RmsNormForward& args, Stream& stream) override { checked_run(args, stream); }
  void rmsnorm_backward(const RmsNormBackward& args, Stream& stream) override { checked_run(args, stream); }
  void linear_forward(const LinearForward& args, Stream& stream) override {
    check(args);
    gemm_.run(cuda::gemm_call(args), launch_on(stream));
  }
  void linear_backward_input(const LinearBackwardInput& args, Stream& stream) override {
    check(args);
    gemm_.run(cuda::gemm_call(args), launch_on(stream));
  }
  void linear_backward_weight(const LinearBackwardWeight& args, Stream& stream) override {
    check(args);
    gemm_.run(cuda::gemm_call(args), launch_on(stream));
  }
  void rope(const Rope& args, Stream& stream) override { checked_run(args, stream); }
  void attention_forward(const AttentionForward& args, Stream& stream) override {
    check(args);
    attention_for(args).forward(args, launch_on(stream));
  }
  void attention_backward(const AttentionBackward& args, Stream& stream) override {
    check(args);
    attention_for(args).backward(args, launch_on(stream));
  }
  void attention_decode(const AttentionDecode& args, Stream& stream) override { checked_run(args, stream); }
  void store_key_value(const StoreKeyValue& args, Stream& stream) override { checked_run(args, stream); }
  void swiglu_forward(const SwiGluForward& args, Stream& stream) override { checked_run(args, stream); }
  void swiglu_backward(const SwiGluBackward& args, Stream& stream) override { checked_run(args, stream); }
  void cross_entropy(const CrossEntropy& args, Stream& stream) override { checked_run(args, stream); }
  void sum_losses(const SumLosses& args, Stream& stream) override { checked_run(args, stream); }
  void cast(const Cast& args, Stream& stream) override { checked_run(args, stream); }
  void add(const Add& args, Stream& stream) override { checked_run(args, stream); }
  void fill(const Fill& args, Stream& stream) override { checked_run(args, stream); }
  void reduce_pieces(const ReducePieces& args, Stream& stream) override { checked_run(args, stream); }
  void sum_of_squares(const SumOfSquares& args, Stream& stream) override { checked_run(args, stream); }
  void advance_step(const AdvanceStep& args, Stream& stream) override { checked_run(args, stream); }
  void adamw(const AdamW& args, Stream& stream) override { checked_run(args, stream); }
  void lion(const Lion& args, Stream& stream) override { checked_run(args, stream); }
  void adagrad(const Adagrad& args, Stream& stream) override { checked_run(args, stream); }
  void sgd(const Sgd& args, Stream& stream) override { checked_run(args, stream); }

  std::size_t workspace_bytes(const EmbeddingBackward& args) const override { return cuda::workspace_bytes(args); }
  std::size_t workspace_bytes(const RmsNormBackward& args) const override { return cuda::workspace_bytes(args); }
  std::size_t workspace_bytes(const LinearForward& args) const override { return gemm_bytes(cuda::gemm_call(args)); }
  std::size_t workspace_bytes(const LinearBackwardInput& args) const override {
    return gemm_bytes(cuda::gemm_call(args));
  }
  std::size_t workspace_bytes(const LinearBackwardWeight& args) const override {
    return gemm_bytes(cuda::gemm_call(args));
  }
  std::size_t workspace_bytes(const AttentionForward& args) const override {
    return attention_for(args).workspace_bytes(args);
  }
  std::size_t workspace_bytes(const AttentionBackward& args) const override {
    return attention_for(args).workspace_bytes(args);
  }
  std::size_t workspace_bytes(const AttentionDecode&) const override { return 0; }
  std::size_t workspace_bytes(const SumOfSquares& args) const override { return cuda::workspace_bytes(args); }

  void use(const CudaGemmAlgorithms& algorithms) { gemm_.use(algorithms); }
  cuda::GemmAlgorithms algorithms() const { return gemm_.algorithms(); }
  const std::map<std::string, cuda::GemmProduct>& sized_products() const { return sized_; }

 private:
  template <typename Args>
  void checked_run(const Args& args, Stream& stream) {
    check(args);
    cuda::run(args, launch_on(stream));
  }

  /// A backend for planning keeps the products of the plan, which tune() times.
  std::size_t gemm_bytes(const cuda::GemmCall& call) const {
    if (!properties_.has_value()) sized_.try_emplace(call.product.key(), call.product);
    return cuda::kGemmWorkspaceBytes;
  }

  cuda::Launch launch_on(Stream& stream) const {
    require(properties_.has_value(), "this CUDA backend was made for planning and has no device");
    require(stream.handle() != nullptr, "CUDA: the stream belongs to another device");
    make_current(*properties_);
    return {static_cast<cudaStream_t>(stream.handle()), workspace_, properties_->multiprocessors,
            properties_->shared_memory_block, properties_->compute_capability};
  }

  template <typename Args>
  cuda::Attention& attention_for(const Args& args) const {
    const cuda::AttentionShape shape{args.qkv.dtype(), args.query_heads, args.kv_heads, args.head_dim};
    for (const auto& attention : attentions_) {
      if (attention->supports(shape)) return *attention;
    }
    fail("attention: no CUDA implementation takes {} with {} query heads, {} key-value heads and head_dim {}",
         name_of(shape.storage), shape.query_heads, shape.kv_heads, shape.head_dim);
  }

  std::optional<CudaProperties> properties_;
  cuda::Gemm gemm_;
  mutable std::map<std::string, cuda::GemmProduct> sized_;
  std::vector<std::unique_ptr<cuda::Attention>> attentions_;
};

const CudaOps& cuda_backend(const char* caller, const Ops& ops) {
  const auto* cuda_ops = dynamic_cast<const CudaOps*>(&ops);
  require(cuda_ops != nullptr, "{}: the ops are not of the CUDA backend", caller);
  return *cuda_ops;
}

}  // namespace

std::unique_ptr<Ops> make_cuda_ops(const Device& device, const CudaOpsOptions& options) {
  return std::make_unique<CudaOps>(cuda_properties(device), options);
}

std::unique_ptr<Ops> make_cuda_sizing_ops(const CudaOpsOptions& options) {
  return std::make_unique<CudaOps>(std::nullopt, options);
}

void use_gemm_algorithms(Ops& ops, const CudaGemmAlgorithms& algorithms) {
  auto* cuda_ops = dynamic_cast<CudaOps*>(&ops);
  require(cuda_ops != nullptr, "use_gemm_algorithms: the ops are not of the CUDA backend");
  cuda_ops->use(algorithms);
}

CudaGemmAlgorithms gemm_algorithms(const Ops& ops) { return cuda_backend("gemm_algorithms", ops).algorithms(); }

std::vector<cuda::GemmProduct> cuda::sized_products(const Ops& sizing) {
  std::vector<GemmProduct> products;
  for (const auto& [key, product] : cuda_backend("tune", sizing).sized_products()) products.push_back(product);
  return products;
}

}  // namespace llama_zero
