#include "zero/bench/recorded_ops.h"

namespace llama_zero::bench {
namespace {

double bytes_of(std::initializer_list<ConstView> views) {
  double total = 0.0;
  for (const ConstView& view : views) total += static_cast<double>(view.bytes());
  return total;
}

}  // namespace

void RecordedOps::start() {
  recording_ = true;
  in_backward_ = false;
  recorded_.clear();
  used_events_ = 0;
}

void RecordedOps::stop() {
  recording_ = false;
  require(stream_ != nullptr, "nothing was recorded");
  next_event().record(*stream_);
  stream_->synchronize();
}

double RecordedOps::milliseconds(std::size_t index) const {
  const auto begin = static_cast<std::size_t>(recorded_[index].begin);
  return events_[begin + 1]->elapsed_ms(*events_[begin]);
}

Event& RecordedOps::next_event() {
  if (used_events_ == events_.size()) events_.push_back(device_.create_timing_event());
  return *events_[used_events_++];
}

void RecordedOps::note(const char* name, LimitRule rule, double bytes, Stream& stream,
                       std::function<void(Ops&, Stream&)> call) {
  recorded_.push_back({name, rule, bytes, std::move(call), static_cast<std::int64_t>(used_events_)});
  next_event().record(stream);
  stream_ = &stream;
}

template <typename Args>
void RecordedOps::run(const char* name, LimitRule rule, double bytes, const Args& args, Stream& stream,
                      void (Ops::*method)(const Args&, Stream&)) {
  if (recording_) {
    note(name, rule, bytes, stream, [args, method](Ops& ops, Stream& on) { (ops.*method)(args, on); });
  }
  (inner_.*method)(args, stream);
}

// The host's array of document starts does not outlive the step.
template <typename Args>
void RecordedOps::run_attention(const char* name, LimitRule rule, double bytes, const Args& args, Stream& stream,
                                void (Ops::*method)(const Args&, Stream&)) {
  if (recording_) {
    const auto& starts = args.documents.host_cu_seqlens;
    note(name, rule, bytes, stream,
         [args, method, kept = std::vector<std::int32_t>(starts.begin(), starts.end())](Ops& ops, Stream& on) {
           Args again = args;
           again.documents.host_cu_seqlens = kept;
           (ops.*method)(again, on);
         });
  }
  (inner_.*method)(args, stream);
}

void RecordedOps::embedding_forward(const EmbeddingForward& args, Stream& stream) {
  in_backward_ = false;  // a pass begins
  run("embedding_forward", LimitRule::kBytes, 2.0 * bytes_of({args.output}), args, stream, &Ops::embedding_forward);
}
void RecordedOps::embedding_backward(const EmbeddingBackward& args, Stream& stream) {
  const double table = bytes_of({args.grad_table}) * (args.accumulate ? 2.0 : 1.0);
  run("embedding_backward", LimitRule::kBytes, bytes_of({args.grad_output}) + table, args, stream,
      &Ops::embedding_backward);
}
void RecordedOps::rmsnorm_forward(const RmsNormForward& args, Stream& stream) {
  run("rmsnorm_forward", forward_rule(LimitRule::kBytes), bytes_of({args.input, args.residual, args.sum, args.output}),
      args, stream, &Ops::rmsnorm_forward);
}
void RecordedOps::rmsnorm_backward(const RmsNormBackward& args, Stream& stream) {
  in_backward_ = true;
  run("rmsnorm_backward", LimitRule::kBytes,
      bytes_of({args.grad_output, args.input, args.grad_residual, args.grad_input}), args, stream,
      &Ops::rmsnorm_backward);
}
void RecordedOps::linear_forward(const LinearForward& args, Stream& stream) {
  run("linear_forward", forward_rule(LimitRule::kLibrary), bytes_of({args.input, args.weight, args.output}), args,
      stream, &Ops::linear_forward);
}
void RecordedOps::linear_backward_input(const LinearBackwardInput& args, Stream& stream) {
  run("linear_backward_input", LimitRule::kLibrary, bytes_of({args.grad_output, args.weight, args.grad_input}), args,
      stream, &Ops::linear_backward_input);
}
void RecordedOps::linear_backward_weight(const LinearBackwardWeight& args, Stream& stream) {
  run("linear_backward_weight", LimitRule::kLibrary, bytes_of({args.grad_output, args.input, args.grad_weight}), args,
      stream, &Ops::linear_backward_weight);
}
void RecordedOps::rope(const Rope& args, Stream& stream) {
  const double part =
      static_cast<double>(args.query_heads + args.kv_heads) / static_cast<double>(args.query_heads + 2 * args.kv_heads);
  run("rope", args.inverse ? LimitRule::kBytes : forward_rule(LimitRule::kBytes), 2.0 * part * bytes_of({args.qkv}),
      args, stream, &Ops::rope);
}
void RecordedOps::attention_forward(const AttentionForward& args, Stream& stream) {
  run_attention("attention_forward", forward_rule(LimitRule::kLibrary), bytes_of({args.qkv, args.output}), args, stream,
                &Ops::attention_forward);
}
void RecordedOps::attention_backward(const AttentionBackward& args, Stream& stream) {
  run_attention("attention_backward", LimitRule::kLibrary,
                bytes_of({args.qkv, args.output, args.grad_output, args.grad_qkv}), args, stream,
                &Ops::attention_backward);
}
void RecordedOps::attention_decode(const AttentionDecode& args, Stream& stream) {
  run("attention_decode", LimitRule::kNothing, 0.0, args, stream, &Ops::attention_decode);
}
void RecordedOps::store_key_value(const StoreKeyValue& args, Stream& stream) {
  run("store_key_value", LimitRule::kNothing, 0.0, args, stream, &Ops::store_key_value);
}
void RecordedOps::swiglu_forward(const SwiGluForward& args, Stream& stream) {
  run("swiglu_forward", forward_rule(LimitRule::kBytes), bytes_of({args.gate_up, args.output}), args, stream,
      &Ops::swiglu_forward);
}
void RecordedOps::swiglu_backward(const SwiGluBackward& args, Stream& stream) {
  run("swiglu_backward", LimitRule::kBytes, bytes_of({args.grad_output, args.gate_up, args.grad_gate_up}), args, stream,
      &Ops::swiglu_backward);
}
void RecordedOps::cross_entropy(const CrossEntropy& args, Stream& stream) {
  run("cross_entropy", LimitRule::kBytes, 2.0 * bytes_of({args.logits}), args, stream, &Ops::cross_entropy);
}
void RecordedOps::sum_losses(const SumLosses& args, Stream& stream) {
  run("sum_losses", LimitRule::kNothing, bytes_of({args.values}), args, stream, &Ops::sum_losses);
}
void RecordedOps::cast(const Cast& args, Stream& stream) {
  run("cast", LimitRule::kNothing, bytes_of({args.source, args.destination}), args, stream, &Ops::cast);
}
void RecordedOps::add(const Add& args, Stream& stream) {
  run("add", LimitRule::kNothing, bytes_of({args.source, args.destination, args.destination}), args, stream, &Ops::add);
}
void RecordedOps::fill(const Fill& args, Stream& stream) {
  run("fill", LimitRule::kNothing, bytes_of({args.destination}), args, stream, &Ops::fill);
}
void RecordedOps::reduce_pieces(const ReducePieces& args, Stream& stream) {
  run("reduce_pieces", LimitRule::kNothing, bytes_of({args.pieces, args.output}), args, stream, &Ops::reduce_pieces);
}
void RecordedOps::sum_of_squares(const SumOfSquares& args, Stream& stream) {
  run("sum_of_squares", LimitRule::kBytes, bytes_of({args.values}), args, stream, &Ops::sum_of_squares);
}
void RecordedOps::advance_step(const AdvanceStep& args, Stream& stream) {
  run("advance_step", LimitRule::kNothing, 0.0, args, stream, &Ops::advance_step);
}
void RecordedOps::adamw(const AdamW& args, Stream& stream) {
  run("adamw", LimitRule::kBytes,
      2.0 * bytes_of({args.master, args.exp_avg, args.exp_avg_sq}) + bytes_of({args.gradient, args.weights}), args,
      stream, &Ops::adamw);
}
void RecordedOps::lion(const Lion& args, Stream& stream) {
  run("lion", LimitRule::kBytes, 2.0 * bytes_of({args.master, args.exp_avg}) + bytes_of({args.gradient, args.weights}),
      args, stream, &Ops::lion);
}
void RecordedOps::adagrad(const Adagrad& args, Stream& stream) {
  run("adagrad", LimitRule::kBytes, 2.0 * bytes_of({args.master, args.sum}) + bytes_of({args.gradient, args.weights}),
      args, stream, &Ops::adagrad);
}
void RecordedOps::sgd(const Sgd& args, Stream& stream) {
  run("sgd", LimitRule::kBytes,
      2.0 * bytes_of({args.master, args.momentum_buffer}) + bytes_of({args.gradient, args.weights}), args, stream,
      &Ops::sgd);
}

}  // namespace llama_zero::bench
