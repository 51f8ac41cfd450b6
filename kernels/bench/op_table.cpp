// The table of ops: for each, how to build its tensors from a Shape, the bytes it must move and the flops it must do.
#include <cmath>

#include "kernels/bench/expected.h"
#include "kernels/bench/optimizer_cases.h"

namespace llama_zero::bench {

namespace {

double product(std::initializer_list<std::int64_t> sizes) {
  double total = 1.0;
  for (const std::int64_t size : sizes) total *= static_cast<double>(size);
  return total;
}

std::vector<std::int32_t> cycling_ids(std::int64_t count, std::int64_t modulus) {
  std::vector<std::int32_t> ids(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < ids.size(); ++i) {
    ids[i] = static_cast<std::int32_t>((i * 7919) % static_cast<std::size_t>(modulus));
  }
  return ids;
}

Case embedding_forward(CaseBuilder& b, const Shape& s) {
  EmbeddingForward args{s.tokens, s.hidden, s.vocab, {}, {}, {}};
  args.tokens = b.ints(cycling_ids(s.tokens, s.vocab));
  args.table = b.random(s.vocab * s.hidden);
  args.output = b.empty(b.storage(), s.tokens * s.hidden);
  return {[&b, args] { b.backend().ops->embedding_forward(args, *b.backend().stream); },
          2.0 * bytes_of({args.output}) + bytes_of({args.tokens}),
          0.0,
          1,
          {args.output},
          [&b, args] { return expected(b.backend(), args); }};
}

Case embedding_backward(CaseBuilder& b, const Shape& s) {
  EmbeddingBackward args{s.tokens, s.hidden, s.vocab, {}, {}, {}, false};
  args.tokens = b.ints(cycling_ids(s.tokens, s.vocab));
  args.grad_output = b.random(s.tokens * s.hidden);
  args.grad_table = b.empty(b.storage(), s.vocab * s.hidden);
  b.reserve_workspace(args);
  return {[&b, args] { b.backend().ops->embedding_backward(args, *b.backend().stream); },
          bytes_of({args.tokens, args.grad_output, args.grad_table}),
          0.0,
          s.tokens / s.vocab + 1,
          {args.grad_table},
          [&b, args] { return expected(b.backend(), args); }};
}

Case rmsnorm_forward(CaseBuilder& b, const Shape& s) {
  const std::int64_t n = s.tokens * s.hidden;
  RmsNormForward args{s.tokens, s.hidden, 1e-5, b.random(n), b.random(n), b.random(s.hidden), {}, {}, {}};
  args.sum = b.empty(b.storage(), n);
  args.output = b.empty(b.storage(), n);
  args.rstd = b.empty(b.wide(), s.tokens);
  return {[&b, args] { b.backend().ops->rmsnorm_forward(args, *b.backend().stream); },
          bytes_of({args.input, args.residual, args.sum, args.output}),
          0.0,
          s.hidden,
          {args.sum, args.output, args.rstd},
          [&b, args] { return expected(b.backend(), args); }};
}

/// The first norm of a model: nothing to add.
Case rmsnorm_forward_first(CaseBuilder& b, const Shape& s) {
  const std::int64_t n = s.tokens * s.hidden;
  RmsNormForward args{s.tokens, s.hidden, 1e-5, b.random(n), {}, b.random(s.hidden), {}, {}, {}};
  args.output = b.empty(b.storage(), n);
  args.rstd = b.empty(b.wide(), s.tokens);
  return {[&b, args] { b.backend().ops->rmsnorm_forward(args, *b.backend().stream); },
          bytes_of({args.input, args.output}),
          0.0,
          s.hidden,
          {args.output, args.rstd},
          [&b, args] { return expected(b.backend(), args); }};
}

Case rmsnorm_backward_of(CaseBuilder& b, const Shape& s, bool joined) {
  const std::int64_t n = s.tokens * s.hidden;
  RmsNormBackward args{
      s.tokens, s.hidden, b.random(n), b.random(n), b.random(s.hidden), b.positive_as(b.wide(), s.tokens),
      {},       {},       {},          false};
  if (joined) args.grad_residual = b.random(n);
  args.grad_input = b.empty(b.storage(), n);
  args.grad_weight = b.empty(b.wide(), s.hidden);
  b.reserve_workspace(args);
  return {[&b, args] { b.backend().ops->rmsnorm_backward(args, *b.backend().stream); },
          bytes_of({args.grad_output, args.input, args.grad_residual, args.grad_input}),
          0.0,
          std::max(s.hidden, s.tokens),
          {args.grad_input, args.grad_weight},
          [&b, args] { return expected(b.backend(), args); }};
}

Case rmsnorm_backward(CaseBuilder& b, const Shape& s) { return rmsnorm_backward_of(b, s, true); }

/// The last norm of a model: no other gradient joins in.
Case rmsnorm_backward_last(CaseBuilder& b, const Shape& s) { return rmsnorm_backward_of(b, s, false); }

Case linear_forward(CaseBuilder& b, const Shape& s) {
  LinearForward args{s.tokens, s.hidden, s.out, b.random(s.tokens * s.hidden), b.random(s.out * s.hidden), {}};
  args.output = b.empty(b.storage(), s.tokens * s.out);
  b.reserve_workspace(args);
  return {[&b, args] { b.backend().ops->linear_forward(args, *b.backend().stream); },
          bytes_of({args.input, args.weight, args.output}),
          2.0 * product({s.tokens, s.hidden, s.out}),
          s.hidden,
          {args.output},
          [&b, args] { return expected(b.backend(), args); }};
}

Case linear_backward_input(CaseBuilder& b, const Shape& s) {
  LinearBackwardInput args{s.tokens, s.hidden, s.out, b.random(s.tokens * s.out), b.random(s.out * s.hidden),
                           {},       false};
  args.grad_input = b.empty(b.storage(), s.tokens * s.hidden);
  b.reserve_workspace(args);
  return {[&b, args] { b.backend().ops->linear_backward_input(args, *b.backend().stream); },
          bytes_of({args.grad_output, args.weight, args.grad_input}),
          2.0 * product({s.tokens, s.hidden, s.out}),
          s.out,
          {args.grad_input},
          [&b, args] { return expected(b.backend(), args); }};
}

Case linear_backward_weight(CaseBuilder& b, const Shape& s) {
  LinearBackwardWeight args{s.tokens, s.hidden, s.out, b.random(s.tokens * s.out), b.random(s.tokens * s.hidden),
                            {},       false};
  args.grad_weight = b.empty(b.storage(), s.out * s.hidden);
  b.reserve_workspace(args);
  return {[&b, args] { b.backend().ops->linear_backward_weight(args, *b.backend().stream); },
          bytes_of({args.grad_output, args.input, args.grad_weight}),
          2.0 * product({s.tokens, s.hidden, s.out}),
          s.tokens,
          {args.grad_weight},
          [&b, args] { return expected(b.backend(), args); }};
}

std::int64_t qkv_width(const Shape& s) { return (s.query_heads + 2 * s.kv_heads) * s.head_dim; }

Case rope(CaseBuilder& b, const Shape& s) {
  Rope args{s.tokens, s.query_heads, s.kv_heads, s.head_dim, s.tokens, {}, {}, {}, false};
  args.qkv = b.random(s.tokens * qkv_width(s));
  args.positions = b.ints(cycling_ids(s.tokens, s.tokens));
  args.cos_sin =
      b.random_as(b.wide(), s.tokens * s.head_dim, 0.7);  // about the length of a rotation, and it stays bounded
  return {[&b, args] { b.backend().ops->rope(args, *b.backend().stream); },
          2.0 * bytes_of({args.qkv}) * static_cast<double>(s.query_heads + s.kv_heads) /
              static_cast<double>(s.query_heads + 2 * s.kv_heads),
          0.0,
          2,
          {args.qkv},
          [&b, args] { return expected(b.backend(), args); }};
}

/// Query-key pairs that causal attention visits.
double visited_pairs(const Documents& documents) {
  double pairs = 0.0;
  for (std::size_t d = 0; d + 1 < documents.host_cu_seqlens.size(); ++d) {
    const auto length = static_cast<double>(documents.host_cu_seqlens[d + 1] - documents.host_cu_seqlens[d]);
    pairs += length * (length + 1.0) / 2.0;
  }
  return pairs;
}

AttentionForward attention_args(CaseBuilder& b, const Shape& s) {
  AttentionForward args{
      s.tokens, s.query_heads, s.kv_heads, s.head_dim, 1.0 / std::sqrt(static_cast<double>(s.head_dim)), {}, {}, {},
      {}};
  args.qkv = b.random(s.tokens * qkv_width(s));
  args.documents = b.documents(s);
  args.output = b.empty(b.storage(), s.tokens * s.query_heads * s.head_dim);
  args.log_sum_exp = b.empty(b.wide(), s.query_heads * s.tokens);
  b.reserve_workspace(args);
  return args;
}

Case attention_forward(CaseBuilder& b, const Shape& s) {
  const AttentionForward args = attention_args(b, s);
  return {[&b, args] { b.backend().ops->attention_forward(args, *b.backend().stream); },
          bytes_of({args.qkv, args.output}),
          4.0 * visited_pairs(args.documents) * product({s.query_heads, s.head_dim}),
          s.document_length,
          {args.output, args.log_sum_exp},
          [&b, args] { return expected(b.backend(), args); }};
}

Case attention_backward(CaseBuilder& b, const Shape& s) {
  const AttentionForward forward = attention_args(b, s);
  b.backend().ops->attention_forward(forward, *b.backend().stream);
  AttentionBackward args{s.tokens, s.query_heads, s.kv_heads,     s.head_dim,          forward.scale,
                         {},       forward.qkv,   forward.output, forward.log_sum_exp, forward.documents,
                         {}};
  args.grad_output = b.random(s.tokens * s.query_heads * s.head_dim);
  args.grad_qkv = b.empty(b.storage(), forward.qkv.numel());
  b.reserve_workspace(args);
  return {[&b, args] { b.backend().ops->attention_backward(args, *b.backend().stream); },
          bytes_of({args.qkv, args.output, args.grad_output, args.grad_qkv}),
          10.0 * visited_pairs(args.documents) * product({s.query_heads, s.head_dim}),
          s.document_length,
          {args.grad_qkv},
          [&b, args] { return expected(b.backend(), args); }};
}

/// tokens / L sequences, each with a cache of L - 1 tokens.
Case attention_decode(CaseBuilder& b, const Shape& s) {
  const std::int64_t batch = std::max<std::int64_t>(1, s.tokens / s.document_length);
  const std::int64_t cache = batch * s.document_length * s.kv_heads * s.head_dim;
  const auto& lengths = b.keep(
      std::vector<std::int32_t>(static_cast<std::size_t>(batch), static_cast<std::int32_t>(s.document_length - 1)));
  AttentionDecode args{batch,
                       s.query_heads,
                       s.kv_heads,
                       s.head_dim,
                       s.document_length,
                       1.0 / std::sqrt(static_cast<double>(s.head_dim)),
                       {},
                       {},
                       lengths,
                       {},
                       {},
                       {}};
  args.qkv = b.random(batch * qkv_width(s));
  args.lengths = b.ints(lengths);
  args.key_cache = b.random(cache);
  args.value_cache = b.random(cache);
  args.output = b.empty(b.storage(), batch * s.query_heads * s.head_dim);
  b.reserve_workspace(args);
  return {[&b, args] { b.backend().ops->attention_decode(args, *b.backend().stream); },
          bytes_of({args.key_cache, args.value_cache, args.qkv, args.output}),
          0.0,
          s.document_length,
          {args.output},
          [&b, args] { return expected(b.backend(), args); }};
}

Case swiglu_forward(CaseBuilder& b, const Shape& s) {
  SwiGluForward args{s.tokens, s.intermediate, b.random(s.tokens * 2 * s.intermediate, 4.0), {}};
  args.output = b.empty(b.storage(), s.tokens * s.intermediate);
  return {[&b, args] { b.backend().ops->swiglu_forward(args, *b.backend().stream); },
          bytes_of({args.gate_up, args.output}),
          0.0,
          1,
          {args.output},
          [&b, args] { return expected(b.backend(), args); }};
}

Case swiglu_backward(CaseBuilder& b, const Shape& s) {
  SwiGluBackward args{
      s.tokens, s.intermediate, b.random(s.tokens * s.intermediate), b.random(s.tokens * 2 * s.intermediate, 4.0), {}};
  args.grad_gate_up = b.empty(b.storage(), s.tokens * 2 * s.intermediate);
  return {[&b, args] { b.backend().ops->swiglu_backward(args, *b.backend().stream); },
          bytes_of({args.grad_output, args.gate_up, args.grad_gate_up}),
          0.0,
          1,
          {args.grad_gate_up},
          [&b, args] { return expected(b.backend(), args); }};
}

Case cross_entropy(CaseBuilder& b, const Shape& s) {
  CrossEntropy args{s.tokens, s.vocab, b.random(s.tokens * s.vocab, 4.0), {}, {}, 64.0, {}, false};
  args.targets = b.ints(cycling_ids(s.tokens, s.vocab));
  args.losses = b.empty(b.wide(), s.tokens);
  return {[&b, args] { b.backend().ops->cross_entropy(args, *b.backend().stream); },
          2.0 * bytes_of({args.logits}),
          0.0,
          s.vocab,
          {args.logits, args.losses},
          [&b, args] { return expected(b.backend(), args); }};
}

/// Evaluation: losses alone.
Case cross_entropy_forward(CaseBuilder& b, const Shape& s) {
  CrossEntropy args{s.tokens, s.vocab, b.random(s.tokens * s.vocab, 4.0), {}, {}, 64.0, {}, true};
  args.targets = b.ints(cycling_ids(s.tokens, s.vocab));
  args.losses = b.empty(b.wide(), s.tokens);
  return {[&b, args] { b.backend().ops->cross_entropy(args, *b.backend().stream); },
          bytes_of({args.logits}),
          0.0,
          s.vocab,
          {args.losses},
          [&b, args] { return expected(b.backend(), args); }};
}

Case cast(CaseBuilder& b, const Shape& s) {
  Cast args{b.random(s.elements), b.empty(b.wide(), s.elements), 0.5};
  return {[&b, args] { b.backend().ops->cast(args, *b.backend().stream); },
          bytes_of({args.source, args.destination}),
          0.0,
          1,
          {args.destination},
          [&b, args] { return expected(b.backend(), args); }};
}

Case add(CaseBuilder& b, const Shape& s) {
  Add args{b.random(s.elements), b.random(s.elements)};
  return {[&b, args] { b.backend().ops->add(args, *b.backend().stream); },
          bytes_of({args.source, args.destination, args.destination}),
          0.0,
          1,
          {args.destination},
          [&b, args] { return expected(b.backend(), args); }};
}

Case fill(CaseBuilder& b, const Shape& s) {
  Fill args{b.random(s.elements), 0.5};
  return {[&b, args] { b.backend().ops->fill(args, *b.backend().stream); },
          bytes_of({args.destination}),
          0.0,
          1,
          {args.destination},
          [&b, args] { return expected(b.backend(), args); }};
}

Case sum_losses(CaseBuilder& b, const Shape& s) {
  SumLosses args{b.random_as(b.wide(), s.tokens), b.empty(DType::kF64, 1), false};
  return {[&b, args] { b.backend().ops->sum_losses(args, *b.backend().stream); },
          bytes_of({args.values}),
          0.0,
          s.tokens,
          {args.total},
          [&b, args] { return expected(b.backend(), args); }};
}

Case reduce_pieces(CaseBuilder& b, const Shape& s) {
  ReducePieces args{s.ranks, b.random(s.elements / s.ranks * s.ranks), 1.0 / static_cast<double>(s.ranks), {}, false};
  args.output = b.empty(b.storage(), s.elements / s.ranks);
  return {[&b, args] { b.backend().ops->reduce_pieces(args, *b.backend().stream); },
          bytes_of({args.pieces, args.output}),
          0.0,
          s.ranks,
          {args.output},
          [&b, args] { return expected(b.backend(), args); }};
}

Case sum_of_squares(CaseBuilder& b, const Shape& s) {
  SumOfSquares args{b.random(s.elements), b.empty(DType::kF64, 2), false};
  b.backend().ops->set_workspace(b.empty(DType::kU8, std::int64_t{1} << 20));
  return {[&b, args] { b.backend().ops->sum_of_squares(args, *b.backend().stream); },
          bytes_of({args.values}),
          0.0,
          kNormSegment,
          {args.result},
          [&b, args] { return expected(b.backend(), args); }};
}

}  // namespace

const std::vector<OpEntry>& op_table() {
  static const std::vector<OpEntry> table = {{"embedding_forward", "THV", embedding_forward},
                                             {"embedding_backward", "THV", embedding_backward},
                                             {"rmsnorm_forward", "TH", rmsnorm_forward},
                                             {"rmsnorm_forward_first", "TH", rmsnorm_forward_first},
                                             {"rmsnorm_backward", "TH", rmsnorm_backward},
                                             {"rmsnorm_backward_last", "TH", rmsnorm_backward_last},
                                             {"linear_forward", "THN", linear_forward},
                                             {"linear_backward_input", "THN", linear_backward_input},
                                             {"linear_backward_weight", "THN", linear_backward_weight},
                                             {"rope", "TQGD", rope},
                                             {"attention_forward", "TQGDL", attention_forward},
                                             {"attention_backward", "TQGDL", attention_backward},
                                             {"attention_decode", "TQGDL", attention_decode},
                                             {"swiglu_forward", "TI", swiglu_forward},
                                             {"swiglu_backward", "TI", swiglu_backward},
                                             {"cross_entropy", "TV", cross_entropy},
                                             {"cross_entropy_forward", "TV", cross_entropy_forward},
                                             {"sum_losses", "T", sum_losses},
                                             {"cast", "E", cast},
                                             {"add", "E", add},
                                             {"fill", "E", fill},
                                             {"reduce_pieces", "ER", reduce_pieces},
                                             {"sum_of_squares", "E", sum_of_squares},
                                             {"adamw", "E", adamw_case},
                                             {"lion", "E", lion_case},
                                             {"adagrad", "E", adagrad_case},
                                             {"sgd", "E", sgd_case},
                                             {"sgd_momentum", "E", sgd_momentum_case}};
  return table;
}

}  // namespace llama_zero::bench
