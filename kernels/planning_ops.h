// A backend that computes nothing: the memory planner runs a step on it to learn what a real one would need.
#pragma once

#include <algorithm>
#include <cstddef>

#include "kernels/check.h"
#include "kernels/ops.h"

namespace llama_zero {

/// Checks the arguments of every call, touches no memory (views of the null device will do) and remembers the largest
/// workspace that the backend `sizing`, which must outlive this object, would have needed.
class PlanningOps final : public Ops {
 public:
  explicit PlanningOps(const Ops& sizing) : sizing_(sizing) {}

  /// Bytes of workspace that the calls so far need of the backend.
  std::size_t largest_workspace() const { return largest_; }

  void embedding_forward(const EmbeddingForward& args, Stream& stream) override;
  void embedding_backward(const EmbeddingBackward& args, Stream& stream) override;
  void rmsnorm_forward(const RmsNormForward& args, Stream& stream) override;
  void rmsnorm_backward(const RmsNormBackward& args, Stream& stream) override;
  void linear_forward(const LinearForward& args, Stream& stream) override;
  void linear_backward_input(const LinearBackwardInput& args, Stream& stream) override;
  void linear_backward_weight(const LinearBackwardWeight& args, Stream& stream) override;
  void rope(const Rope& args, Stream& stream) override;
  void attention_forward(const AttentionForward& args, Stream& stream) override;
  void attention_backward(const AttentionBackward& args, Stream& stream) override;
  void attention_decode(const AttentionDecode& args, Stream& stream) override;
  void store_key_value(const StoreKeyValue& args, Stream& stream) override;
  void swiglu_forward(const SwiGluForward& args, Stream& stream) override;
  void swiglu_backward(const SwiGluBackward& args, Stream& stream) override;
  void cross_entropy(const CrossEntropy& args, Stream& stream) override;
  void sum_losses(const SumLosses& args, Stream& stream) override;
  void cast(const Cast& args, Stream& stream) override;
  void add(const Add& args, Stream& stream) override;
  void fill(const Fill& args, Stream& stream) override;
  void reduce_pieces(const ReducePieces& args, Stream& stream) override;
  void sum_of_squares(const SumOfSquares& args, Stream& stream) override;
  void advance_step(const AdvanceStep& args, Stream& stream) override;
  void adamw(const AdamW& args, Stream& stream) override;
  void lion(const Lion& args, Stream& stream) override;
  void adagrad(const Adagrad& args, Stream& stream) override;
  void sgd(const Sgd& args, Stream& stream) override;

  std::size_t workspace_bytes(const EmbeddingBackward& args) const override { return sizing_.workspace_bytes(args); }
  std::size_t workspace_bytes(const RmsNormBackward& args) const override { return sizing_.workspace_bytes(args); }
  std::size_t workspace_bytes(const LinearForward& args) const override { return sizing_.workspace_bytes(args); }
  std::size_t workspace_bytes(const LinearBackwardInput& args) const override { return sizing_.workspace_bytes(args); }
  std::size_t workspace_bytes(const LinearBackwardWeight& args) const override { return sizing_.workspace_bytes(args); }
  std::size_t workspace_bytes(const AttentionForward& args) const override { return sizing_.workspace_bytes(args); }
  std::size_t workspace_bytes(const AttentionBackward& args) const override { return sizing_.workspace_bytes(args); }
  std::size_t workspace_bytes(const AttentionDecode& args) const override { return sizing_.workspace_bytes(args); }
  std::size_t workspace_bytes(const SumOfSquares& args) const override { return sizing_.workspace_bytes(args); }

 private:
  template <typename Args>
  void check_and_size(const Args& args) {
    check(args);
    largest_ = std::max(largest_, sizing_.workspace_bytes(args));
  }

  const Ops& sizing_;
  std::size_t largest_ = 0;
};

}  // namespace llama_zero
