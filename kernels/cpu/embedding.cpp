// Embedding lookup and its gradient.
#include <algorithm>

#include "kernels/cpu/convert.h"
#include "kernels/cpu/kernels.h"

namespace llama_zero::cpu {

namespace {

/// Token ids, all checked to be rows of the table.
const std::int32_t* checked_tokens(const char* op, const ConstView& tokens, std::int64_t vocab_size) {
  const auto ids = tokens.span<std::int32_t>();
  for (std::size_t t = 0; t < ids.size(); ++t) {
    require(ids[t] >= 0 && ids[t] < vocab_size, "{}: tokens[{}] is {}, the vocabulary has {} tokens", op, t, ids[t],
            vocab_size);
  }
  return ids.data();
}

/// The positions of every token id, ascending: those of id v are order[start[v]] .. order[start[v + 1] - 1].
struct Buckets {
  std::int32_t* start;
  std::int32_t* order;
};

/// Counting sort, stable, so positions of one id stay ascending.
Buckets sort_by_token(const EmbeddingBackward& args, const Context& context) {
  const std::int32_t* tokens = checked_tokens("embedding_backward", args.tokens, args.vocab_size);
  Scratch scratch(context, "embedding_backward", 0, workspace_bytes(args));
  Buckets buckets{scratch.take<std::int32_t>(args.vocab_size + 2), scratch.take<std::int32_t>(args.tokens_count)};
  // start[v + 2] counts id v; after the prefix sum start[v + 1] is where id v begins, and filling moves it to its end.
  std::fill_n(buckets.start, args.vocab_size + 2, 0);
  for (std::int64_t t = 0; t < args.tokens_count; ++t) ++buckets.start[tokens[t] + 2];
  for (std::int64_t v = 0; v < args.vocab_size; ++v) buckets.start[v + 2] += buckets.start[v + 1];
  for (std::int64_t t = 0; t < args.tokens_count; ++t) {
    buckets.order[buckets.start[tokens[t] + 1]++] = static_cast<std::int32_t>(t);
  }
  return buckets;
}

template <typename C>
void add_rows(const EmbeddingBackward& args, const Buckets& buckets, std::int64_t v, std::int64_t column,
              std::int64_t count) {
  C total[kBlock];
  C buffer[kBlock];
  std::fill_n(total, count, C(0));
  for (std::int32_t i = buckets.start[v]; i < buckets.start[v + 1]; ++i) {
    const C* row = read(args.grad_output, buckets.order[i] * args.hidden_size + column, count, buffer);
    for (std::int64_t c = 0; c < count; ++c) total[c] += row[c];
  }
  const std::int64_t offset = v * args.hidden_size + column;
  if (args.accumulate) {
    const C* old = read(ConstView(args.grad_table), offset, count, buffer);
    for (std::int64_t c = 0; c < count; ++c) total[c] += old[c];
  }
  store(args.grad_table, offset, count, total);
}

}  // namespace

std::size_t workspace_bytes(const EmbeddingBackward& args) {
  return scratch_bytes<std::int32_t>(args.vocab_size + 2) + scratch_bytes<std::int32_t>(args.tokens_count);
}

void run(const EmbeddingForward& args, const Context& context) {
  const std::int32_t* tokens = checked_tokens("embedding_forward", args.tokens, args.vocab_size);
  const std::size_t row_bytes = static_cast<std::size_t>(args.hidden_size) * size_of(args.table.dtype());
  parallel_rows(context, args.tokens_count, args.hidden_size, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t t = first; t < last; ++t) {
      std::copy_n(args.table.raw() + static_cast<std::size_t>(tokens[t]) * row_bytes, row_bytes,
                  args.output.raw() + static_cast<std::size_t>(t) * row_bytes);
    }
  });
}

void run(const EmbeddingBackward& args, const Context& context) {
  const Buckets buckets = sort_by_token(args, context);
  with_compute_type(wider(args.grad_output.dtype(), args.grad_table.dtype()), [&]<typename C>(C) {
    parallel_rows(context, args.vocab_size, args.hidden_size, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t v = first; v < last; ++v) {
        if (args.accumulate && buckets.start[v] == buckets.start[v + 1]) continue;
        for_blocks(args.hidden_size,
                   [&](std::int64_t column, std::int64_t count) { add_rows<C>(args, buckets, v, column, count); });
      }
    });
  });
}

}  // namespace llama_zero::cpu
