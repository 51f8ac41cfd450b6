#include "kernels/streamed_ops.h"

#include <cstdint>
#include <utility>
#include <vector>

#include "core/worker_device.h"

namespace llama_zero {
namespace {

/// Arguments as they are kept until they are used. Those of attention point to document starts in the caller's memory.
template <typename Args>
class Kept {
 public:
  explicit Kept(const Args& args) : args_(args) {
    if constexpr (requires { args.documents.host_cu_seqlens; }) {
      const auto starts = args.documents.host_cu_seqlens;
      starts_.assign(starts.begin(), starts.end());
    }
  }
  Args args() const {
    Args args = args_;
    if constexpr (requires { args.documents.host_cu_seqlens; }) args.documents.host_cu_seqlens = starts_;
    return args;
  }

 private:
  Args args_;
  std::vector<std::int32_t> starts_;
};

class StreamedOps final : public Ops {
 public:
  explicit StreamedOps(Ops& inner) : inner_(inner), host_(make_cpu_device()), inline_(host_->create_stream("inline")) {}

  void embedding_forward(const EmbeddingForward& args, Stream& stream) override {
    give(&Ops::embedding_forward, args, stream);
  }
  void embedding_backward(const EmbeddingBackward& args, Stream& stream) override {
    give(&Ops::embedding_backward, args, stream);
  }
  void rmsnorm_forward(const RmsNormForward& args, Stream& stream) override {
    give(&Ops::rmsnorm_forward, args, stream);
  }
  void rmsnorm_backward(const RmsNormBackward& args, Stream& stream) override {
    give(&Ops::rmsnorm_backward, args, stream);
  }
  void linear_forward(const LinearForward& args, Stream& stream) override { give(&Ops::linear_forward, args, stream); }
  void linear_backward_input(const LinearBackwardInput& args, Stream& stream) override {
    give(&Ops::linear_backward_input, args, stream);
  }
  void linear_backward_weight(const LinearBackwardWeight& args, Stream& stream) override {
    give(&Ops::linear_backward_weight, args, stream);
  }
  void rope(const Rope& args, Stream& stream) override { give(&Ops::rope, args, stream); }
  void attention_forward(const AttentionForward& args, Stream& stream) override {
    give(&Ops::attention_forward, args, stream);
  }
  void attention_backward(const AttentionBackward& args, Stream& stream) override {
    give(&Ops::attention_backward, args, stream);
  }
  void attention_decode(const AttentionDecode& args, Stream& stream) override {
    give(&Ops::attention_decode, args, stream);
  }
  void store_key_value(const StoreKeyValue& args, Stream& stream) override {
    give(&Ops::store_key_value, args, stream);
  }
  void swiglu_forward(const SwiGluForward& args, Stream& stream) override { give(&Ops::swiglu_forward, args, stream); }
  void swiglu_backward(const SwiGluBackward& args, Stream& stream) override {
    give(&Ops::swiglu_backward, args, stream);
  }
  void cross_entropy(const CrossEntropy& args, Stream& stream) override { give(&Ops::cross_entropy, args, stream); }
  void sum_losses(const SumLosses& args, Stream& stream) override { give(&Ops::sum_losses, args, stream); }
  void cast(const Cast& args, Stream& stream) override { give(&Ops::cast, args, stream); }
  void add(const Add& args, Stream& stream) override { give(&Ops::add, args, stream); }
  void fill(const Fill& args, Stream& stream) override { give(&Ops::fill, args, stream); }
  void reduce_pieces(const ReducePieces& args, Stream& stream) override { give(&Ops::reduce_pieces, args, stream); }
  void sum_of_squares(const SumOfSquares& args, Stream& stream) override { give(&Ops::sum_of_squares, args, stream); }
  void advance_step(const AdvanceStep& args, Stream& stream) override { give(&Ops::advance_step, args, stream); }
  void adamw(const AdamW& args, Stream& stream) override { give(&Ops::adamw, args, stream); }
  void lion(const Lion& args, Stream& stream) override { give(&Ops::lion, args, stream); }
  void adagrad(const Adagrad& args, Stream& stream) override { give(&Ops::adagrad, args, stream); }
  void sgd(const Sgd& args, Stream& stream) override { give(&Ops::sgd, args, stream); }

  std::size_t workspace_bytes(const EmbeddingBackward& args) const override { return inner_.workspace_bytes(args); }
  std::size_t workspace_bytes(const RmsNormBackward& args) const override { return inner_.workspace_bytes(args); }
  std::size_t workspace_bytes(const LinearForward& args) const override { return inner_.workspace_bytes(args); }
  std::size_t workspace_bytes(const LinearBackwardInput& args) const override { return inner_.workspace_bytes(args); }
  std::size_t workspace_bytes(const LinearBackwardWeight& args) const override { return inner_.workspace_bytes(args); }
  std::size_t workspace_bytes(const AttentionForward& args) const override { return inner_.workspace_bytes(args); }
  std::size_t workspace_bytes(const AttentionBackward& args) const override { return inner_.workspace_bytes(args); }
  std::size_t workspace_bytes(const AttentionDecode& args) const override { return inner_.workspace_bytes(args); }
  std::size_t workspace_bytes(const SumOfSquares& args) const override { return inner_.workspace_bytes(args); }

 private:
  template <typename Args>
  void give(void (Ops::*op)(const Args&, Stream&), const Args& args, Stream& stream) {
    if (workspace_.raw() != given_workspace_.raw()) inner_.set_workspace(given_workspace_ = workspace_);
    worker_stream(stream).give([this, op, kept = Kept<Args>(args)] { (inner_.*op)(kept.args(), *inline_); });
  }

  Ops& inner_;
  std::unique_ptr<Device> host_;
  std::unique_ptr<Stream> inline_;
  View given_workspace_;
};

}  // namespace

std::unique_ptr<Ops> make_streamed_ops(Ops& inner) { return std::make_unique<StreamedOps>(inner); }

}  // namespace llama_zero
