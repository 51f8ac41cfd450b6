// A backend between the engine and the real one: it notes every op of a step, what the op must do at least, and when it
// ran.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernels/ops.h"

namespace llama_zero::bench {

/// What the limit of a step takes for an op.
enum class LimitRule {
  kLibrary,  ///< the best library kernel: matrix products and attention
  kBytes,    ///< its bytes over the copy bandwidth
  kNothing,  ///< a step could do without it
};

/// One call.
struct RecordedOp {
  const char* name;
  LimitRule rule;
  double bytes = 0.0;                       ///< each input read once, each output written once
  std::function<void(Ops&, Stream&)> call;  ///< of kLibrary: the same call again, on any backend of the same device
  std::int64_t begin = 0;                   ///< index of the event before it; the next event is the one after it
};

/// Forwards to `inner`. Between start() and stop() every call is kept, with an event before it.
class RecordedOps final : public Ops {
 public:
  RecordedOps(Ops& inner, Device& device) : inner_(inner), device_(device) {}

  void start();
  /// Ends the recording and waits for the recorded work.
  void stop();
  const std::vector<RecordedOp>& recorded() const { return recorded_; }
  /// Milliseconds from the start of call `index` to the start of the next one.
  double milliseconds(std::size_t index) const;

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
  void run(const char* name, LimitRule rule, double bytes, const Args& args, Stream& stream,
           void (Ops::*method)(const Args&, Stream&));
  template <typename Args>
  void run_attention(const char* name, LimitRule rule, double bytes, const Args& args, Stream& stream,
                     void (Ops::*method)(const Args&, Stream&));
  void note(const char* name, LimitRule rule, double bytes, Stream& stream, std::function<void(Ops&, Stream&)> call);
  /// Forward ops after the first backward op of a pass are recomputation, which the limit does not have.
  LimitRule forward_rule(LimitRule rule) const { return in_backward_ ? LimitRule::kNothing : rule; }
  Event& next_event();

  Ops& inner_;
  Device& device_;
  bool recording_ = false;
  bool in_backward_ = false;
  std::vector<RecordedOp> recorded_;
  std::vector<std::unique_ptr<Event>> events_;
  std::size_t used_events_ = 0;
  Stream* stream_ = nullptr;  ///< of the last recorded call
};

}  // namespace llama_zero::bench
