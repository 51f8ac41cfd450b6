#include "kernels/check.h"

#include "core/error.h"

namespace llama_zero {

namespace {

/// Checks the arguments of one call; every message starts with the op's name.
class Checker {
 public:
  explicit Checker(const char* op) : op_(op) {}

  void that(bool condition, const char* argument, const char* problem) const {
    if (!condition) fail("{}: {} {}", op_, argument, problem);
  }

  void sizes_not_negative(std::initializer_list<std::int64_t> sizes) const {
    for (const std::int64_t size : sizes) require(size >= 0, "{}: a size is negative ({})", op_, size);
  }

  void positive(const char* argument, std::int64_t size) const {
    require(size > 0, "{}: {} is {}, must be positive", op_, argument, size);
  }

  void floating(const char* argument, const ConstView& view) const {
    require(is_floating(view.dtype()), "{}: {} holds {}, must be floating-point", op_, argument, name_of(view.dtype()));
  }

  void count(const char* argument, const ConstView& view, std::int64_t expected) const {
    require(view.numel() == expected, "{}: {} has {} elements, expected {}", op_, argument, view.numel(), expected);
  }

  void tensor(const char* argument, const ConstView& view, DType dtype, std::int64_t expected) const {
    require(view.dtype() == dtype, "{}: {} holds {}, expected {}", op_, argument, name_of(view.dtype()),
            name_of(dtype));
    count(argument, view, expected);
  }

  /// A floating tensor of any dtype.
  void any_floating(const char* argument, const ConstView& view, std::int64_t expected) const {
    floating(argument, view);
    count(argument, view, expected);
  }

  void heads(std::int64_t query_heads, std::int64_t kv_heads, std::int64_t head_dim) const {
    positive("kv_heads", kv_heads);
    positive("query_heads", query_heads);
    require(query_heads % kv_heads == 0, "{}: query_heads {} is not a multiple of kv_heads {}", op_, query_heads,
            kv_heads);
    require(head_dim > 0 && head_dim % 8 == 0 && head_dim <= kMaxHeadDim,
            "{}: head_dim is {}, must be a multiple of 8 up to {}", op_, head_dim, kMaxHeadDim);
  }

  void documents(const Documents& documents, std::int64_t tokens) const {
    const auto cu = documents.host_cu_seqlens;
    const auto entries = static_cast<std::int64_t>(cu.size());
    require(entries >= 1 && cu.front() == 0 && cu.back() == tokens,
            "{}: documents.host_cu_seqlens must start at 0 and end at tokens_count {}", op_, tokens);
    tensor("documents.cu_seqlens", documents.cu_seqlens, DType::kI32, entries);
    bool boundary_found = documents.attended_tokens == 0;
    for (std::size_t d = 0; d + 1 < cu.size(); ++d) {
      const std::int64_t length = std::int64_t{cu[d + 1]} - cu[d];
      require(length >= 0, "{}: documents.host_cu_seqlens falls from {} to {} at document {}", op_, cu[d], cu[d + 1],
              d);
      if (cu[d + 1] == documents.attended_tokens) boundary_found = true;
      require(cu[d] >= documents.attended_tokens || length <= documents.longest,
              "{}: documents.longest is {}, document {} has {} tokens", op_, documents.longest, d, length);
    }
    require(boundary_found, "{}: documents.attended_tokens {} is not where a document ends", op_,
            documents.attended_tokens);
  }

 private:
  const char* op_;
};

struct NamedState {
  const char* name;
  ConstView view;
};

/// What the optimizers' updates have in common.
template <typename Args>
void check_update(const char* op, const Args& args, std::initializer_list<NamedState> states) {
  const Checker checker(op);
  const DType dtype = args.master.dtype();
  checker.that(dtype == DType::kF32 || dtype == DType::kF64, "master", "must hold fp32 or fp64");
  for (const NamedState& state : states) checker.tensor(state.name, state.view, dtype, args.master.numel());
  checker.any_floating("gradient", args.gradient, args.master.numel());
  if (args.weights) checker.any_floating("weights", args.weights, args.master.numel());
  checker.tensor("state", args.state, DType::kU8, static_cast<std::int64_t>(sizeof(StepState)));
}

std::int64_t qkv_width(std::int64_t query_heads, std::int64_t kv_heads, std::int64_t head_dim) {
  return (query_heads + 2 * kv_heads) * head_dim;
}

}  // namespace

void check(const EmbeddingForward& args) {
  const Checker checker("embedding_forward");
  checker.sizes_not_negative({args.tokens_count, args.hidden_size, args.vocab_size});
  checker.tensor("tokens", args.tokens, DType::kI32, args.tokens_count);
  checker.any_floating("table", args.table, args.vocab_size * args.hidden_size);
  checker.tensor("output", args.output, args.table.dtype(), args.tokens_count * args.hidden_size);
}

void check(const EmbeddingBackward& args) {
  const Checker checker("embedding_backward");
  checker.sizes_not_negative({args.tokens_count, args.hidden_size, args.vocab_size});
  checker.tensor("tokens", args.tokens, DType::kI32, args.tokens_count);
  checker.any_floating("grad_output", args.grad_output, args.tokens_count * args.hidden_size);
  checker.any_floating("grad_table", args.grad_table, args.vocab_size * args.hidden_size);
}

void check(const RmsNormForward& args) {
  const Checker checker("rmsnorm_forward");
  checker.sizes_not_negative({args.tokens_count});
  checker.positive("hidden_size", args.hidden_size);
  const std::int64_t elements = args.tokens_count * args.hidden_size;
  checker.any_floating("input", args.input, elements);
  const DType storage = args.input.dtype();
  checker.that(static_cast<bool>(args.residual) == static_cast<bool>(args.sum), "sum",
               "must be given exactly when residual is");
  if (args.residual) {
    checker.tensor("residual", args.residual, storage, elements);
    checker.tensor("sum", args.sum, storage, elements);
  }
  checker.tensor("weight", args.weight, storage, args.hidden_size);
  checker.tensor("output", args.output, storage, elements);
  checker.tensor("rstd", args.rstd, stat_dtype(storage), args.tokens_count);
}

void check(const RmsNormBackward& args) {
  const Checker checker("rmsnorm_backward");
  checker.sizes_not_negative({args.tokens_count});
  checker.positive("hidden_size", args.hidden_size);
  const std::int64_t elements = args.tokens_count * args.hidden_size;
  checker.any_floating("grad_output", args.grad_output, elements);
  const DType storage = args.grad_output.dtype();
  checker.tensor("input", args.input, storage, elements);
  checker.tensor("weight", args.weight, storage, args.hidden_size);
  checker.tensor("rstd", args.rstd, stat_dtype(storage), args.tokens_count);
  if (args.grad_residual) checker.tensor("grad_residual", args.grad_residual, storage, elements);
  checker.tensor("grad_input", args.grad_input, storage, elements);
  checker.any_floating("grad_weight", args.grad_weight, args.hidden_size);
}

void check(const LinearForward& args) {
  const Checker checker("linear_forward");
  checker.sizes_not_negative({args.rows, args.in_features, args.out_features});
  checker.any_floating("input", args.input, args.rows * args.in_features);
  checker.tensor("weight", args.weight, args.input.dtype(), args.out_features * args.in_features);
  checker.tensor("output", args.output, args.input.dtype(), args.rows * args.out_features);
}

void check(const LinearBackwardInput& args) {
  const Checker checker("linear_backward_input");
  checker.sizes_not_negative({args.rows, args.in_features, args.out_features});
  checker.any_floating("grad_output", args.grad_output, args.rows * args.out_features);
  checker.tensor("weight", args.weight, args.grad_output.dtype(), args.out_features * args.in_features);
  checker.tensor("grad_input", args.grad_input, args.grad_output.dtype(), args.rows * args.in_features);
}

void check(const LinearBackwardWeight& args) {
  const Checker checker("linear_backward_weight");
  checker.sizes_not_negative({args.rows, args.in_features, args.out_features});
  checker.any_floating("grad_output", args.grad_output, args.rows * args.out_features);
  checker.tensor("input", args.input, args.grad_output.dtype(), args.rows * args.in_features);
  checker.any_floating("grad_weight", args.grad_weight, args.out_features * args.in_features);
}

void check(const Rope& args) {
  const Checker checker("rope");
  checker.sizes_not_negative({args.tokens_count, args.max_position});
  checker.heads(args.query_heads, args.kv_heads, args.head_dim);
  checker.any_floating("qkv", args.qkv, args.tokens_count * qkv_width(args.query_heads, args.kv_heads, args.head_dim));
  checker.tensor("positions", args.positions, DType::kI32, args.tokens_count);
  checker.tensor("cos_sin", args.cos_sin, stat_dtype(args.qkv.dtype()), args.max_position * args.head_dim);
}

void check(const AttentionForward& args) {
  const Checker checker("attention_forward");
  checker.sizes_not_negative({args.tokens_count});
  checker.heads(args.query_heads, args.kv_heads, args.head_dim);
  checker.any_floating("qkv", args.qkv, args.tokens_count * qkv_width(args.query_heads, args.kv_heads, args.head_dim));
  checker.tensor("output", args.output, args.qkv.dtype(), args.tokens_count * args.query_heads * args.head_dim);
  checker.tensor("log_sum_exp", args.log_sum_exp, stat_dtype(args.qkv.dtype()), args.query_heads * args.tokens_count);
  checker.documents(args.documents, args.tokens_count);
}

void check(const AttentionBackward& args) {
  const Checker checker("attention_backward");
  checker.sizes_not_negative({args.tokens_count});
  checker.heads(args.query_heads, args.kv_heads, args.head_dim);
  checker.any_floating("qkv", args.qkv, args.tokens_count * qkv_width(args.query_heads, args.kv_heads, args.head_dim));
  const DType storage = args.qkv.dtype();
  const std::int64_t elements = args.tokens_count * args.query_heads * args.head_dim;
  checker.tensor("grad_output", args.grad_output, storage, elements);
  checker.tensor("output", args.output, storage, elements);
  checker.tensor("log_sum_exp", args.log_sum_exp, stat_dtype(storage), args.query_heads * args.tokens_count);
  checker.tensor("grad_qkv", args.grad_qkv, storage, args.qkv.numel());
  checker.documents(args.documents, args.tokens_count);
}

void check(const AttentionDecode& args) {
  const Checker checker("attention_decode");
  checker.sizes_not_negative({args.batch, args.capacity});
  checker.heads(args.query_heads, args.kv_heads, args.head_dim);
  checker.any_floating("qkv", args.qkv, args.batch * qkv_width(args.query_heads, args.kv_heads, args.head_dim));
  const DType storage = args.qkv.dtype();
  const std::int64_t cache = args.batch * args.capacity * args.kv_heads * args.head_dim;
  checker.tensor("key_cache", args.key_cache, storage, cache);
  checker.tensor("value_cache", args.value_cache, storage, cache);
  checker.tensor("output", args.output, storage, args.batch * args.query_heads * args.head_dim);
  checker.tensor("lengths", args.lengths, DType::kI32, args.batch);
  checker.that(static_cast<std::int64_t>(args.host_lengths.size()) == args.batch, "host_lengths",
               "must have one entry a sequence");
  for (const std::int32_t length : args.host_lengths) {
    checker.that(length >= 0 && length < args.capacity, "host_lengths", "must leave a free slot in the cache");
  }
}

void check(const StoreKeyValue& args) {
  const Checker checker("store_key_value");
  checker.sizes_not_negative({args.tokens_count, args.capacity});
  checker.heads(args.query_heads, args.kv_heads, args.head_dim);
  checker.any_floating("qkv", args.qkv, args.tokens_count * qkv_width(args.query_heads, args.kv_heads, args.head_dim));
  checker.documents(args.documents, args.tokens_count);
  checker.that(args.documents.longest <= args.capacity, "capacity", "is smaller than the longest document");
  std::int64_t attended = 0;
  const auto cu = args.documents.host_cu_seqlens;
  for (std::size_t d = 0; d + 1 < cu.size(); ++d) attended += cu[d] < args.documents.attended_tokens ? 1 : 0;
  const std::int64_t cache = attended * args.capacity * args.kv_heads * args.head_dim;
  checker.tensor("key_cache", args.key_cache, args.qkv.dtype(), cache);
  checker.tensor("value_cache", args.value_cache, args.qkv.dtype(), cache);
}

void check(const SwiGluForward& args) {
  const Checker checker("swiglu_forward");
  checker.sizes_not_negative({args.tokens_count, args.intermediate_size});
  checker.any_floating("gate_up", args.gate_up, 2 * args.tokens_count * args.intermediate_size);
  checker.tensor("output", args.output, args.gate_up.dtype(), args.tokens_count * args.intermediate_size);
}

void check(const SwiGluBackward& args) {
  const Checker checker("swiglu_backward");
  checker.sizes_not_negative({args.tokens_count, args.intermediate_size});
  checker.any_floating("gate_up", args.gate_up, 2 * args.tokens_count * args.intermediate_size);
  checker.tensor("grad_output", args.grad_output, args.gate_up.dtype(), args.tokens_count * args.intermediate_size);
  checker.tensor("grad_gate_up", args.grad_gate_up, args.gate_up.dtype(), args.gate_up.numel());
}

void check(const CrossEntropy& args) {
  const Checker checker("cross_entropy");
  checker.sizes_not_negative({args.tokens_count});
  checker.positive("vocab_size", args.vocab_size);
  checker.any_floating("logits", args.logits, args.tokens_count * args.vocab_size);
  checker.tensor("targets", args.targets, DType::kI32, args.tokens_count);
  checker.tensor("losses", args.losses, stat_dtype(args.logits.dtype()), args.tokens_count);
  if (args.loss_scale) checker.tensor("loss_scale", args.loss_scale, DType::kF32, 1);
  if (args.weights) checker.tensor("weights", args.weights, DType::kF32, args.tokens_count);
}

void check(const SumLosses& args) {
  const Checker checker("sum_losses");
  checker.that(args.values.dtype() == DType::kF32 || args.values.dtype() == DType::kF64, "values",
               "must hold fp32 or fp64");
  checker.tensor("total", args.total, DType::kF64, 1);
}

void check(const Cast& args) {
  const Checker checker("cast");
  checker.floating("source", args.source);
  checker.any_floating("destination", args.destination, args.source.numel());
}

void check(const Add& args) {
  const Checker checker("add");
  checker.floating("source", args.source);
  checker.any_floating("destination", args.destination, args.source.numel());
}

void check(const Fill& args) { Checker("fill").floating("destination", args.destination); }

void check(const ReducePieces& args) {
  const Checker checker("reduce_pieces");
  checker.positive("ranks", args.ranks);
  checker.floating("output", args.output);
  checker.any_floating("pieces", args.pieces, args.ranks * args.output.numel());
}

void check(const SumOfSquares& args) {
  const Checker checker("sum_of_squares");
  checker.floating("values", args.values);
  checker.tensor("result", args.result, DType::kF64, 2);
}

void check(const AdvanceStep& args) {
  const Checker checker("advance_step");
  checker.positive("ranks", args.ranks);
  checker.tensor("per_rank", args.per_rank, DType::kF64, 2 * args.ranks);
  checker.tensor("state", args.state, DType::kU8, static_cast<std::int64_t>(sizeof(StepState)));
  const auto row = static_cast<std::int64_t>(sizeof(ScheduleRow));
  checker.that(args.schedule.dtype() == DType::kU8 && args.schedule.numel() > 0 && args.schedule.numel() % row == 0,
               "schedule", "must hold whole rows of ScheduleRow, at least one, as bytes");
}

void check(const AdamW& args) {
  check_update("adamw", args, {{"exp_avg", args.exp_avg}, {"exp_avg_sq", args.exp_avg_sq}});
}

void check(const Lion& args) { check_update("lion", args, {{"exp_avg", args.exp_avg}}); }

void check(const Adagrad& args) { check_update("adagrad", args, {{"sum", args.sum}}); }

void check(const Sgd& args) {
  const Checker checker("sgd");
  if (args.momentum_buffer) {
    check_update("sgd", args, {{"momentum_buffer", args.momentum_buffer}});
  } else {
    check_update("sgd", args, {});
    checker.that(args.momentum == 0.0, "momentum_buffer", "is needed with momentum");
  }
  checker.that(!args.nesterov || (args.momentum > 0.0 && args.dampening == 0.0), "nesterov",
               "needs momentum and no dampening");
}

}  // namespace llama_zero
