// Causal attention inside documents, forward. One task is one query head of one document; its queries are taken a tile
// at a time, against all keys up to the tile's end.
#include "kernels/cpu/attention.h"

#include <cmath>
#include <limits>

#include "kernels/cpu/blas.h"
#include "kernels/cpu/convert.h"
#include "kernels/cpu/vector_math.h"

namespace llama_zero::cpu {

namespace {

constexpr const char* kOp = "attention_forward";

template <typename C>
std::size_t thread_bytes(const AttentionForward& args) {
  const std::int64_t longest = args.documents.longest;
  return 2 * scratch_bytes<C>(longest * args.head_dim) + 2 * scratch_bytes<C>(kQueryTile * args.head_dim) +
         scratch_bytes<C>(kQueryTile * longest);
}

/// exp(score - maximum) of the first `visible` scores, zeros for the other keys of the tile.
template <typename C>
struct RowSoftmax {
  C sum;
  C log_sum_exp;

  RowSoftmax(C* scores, std::int64_t visible, std::int64_t keys) {
    const C largest = maximum(scores, visible, -std::numeric_limits<C>::infinity());
#pragma omp simd
    for (std::int64_t k = 0; k < visible; ++k) scores[k] = exponential(scores[k] - largest);
    std::fill(scores + visible, scores + keys, C(0));
    sum = cpu::sum(scores, visible);
    log_sum_exp = largest + std::log(sum);
  }
};

template <typename C>
void attend(const AttentionForward& args, const DocumentRange& document, std::int64_t head, Scratch scratch) {
  const QkvLayout layout{args.query_heads, args.kv_heads, args.head_dim};
  const std::int64_t dim = args.head_dim;
  const std::int64_t kv_head = head / layout.group();
  C* keys = scratch.take<C>(args.documents.longest * dim);
  C* values = scratch.take<C>(args.documents.longest * dim);
  C* queries = scratch.take<C>(kQueryTile * dim);
  C* result = scratch.take<C>(kQueryTile * dim);
  C* scores = scratch.take<C>(kQueryTile * args.documents.longest);
  C* log_sum_exp = args.log_sum_exp.as<C>() + head * args.tokens_count + document.start;
  load_rows(args.qkv, layout.key(document.start, kv_head), layout.stride(), document.length, dim, keys);
  load_rows(args.qkv, layout.value(document.start, kv_head), layout.stride(), document.length, dim, values);
  for (std::int64_t first = 0; first < document.length; first += kQueryTile) {
    const std::int64_t rows = std::min(kQueryTile, document.length - first);
    const std::int64_t visible = first + rows;
    load_rows(args.qkv, layout.query(document.start + first, head), layout.stride(), rows, dim, queries);
    gemm(Layout::kPlain, Layout::kTransposed, rows, visible, dim, static_cast<C>(args.scale), queries, dim, keys, dim,
         C(0), scores, visible);
    C sums[kQueryTile];
    for (std::int64_t r = 0; r < rows; ++r) {
      const RowSoftmax<C> softmax(scores + r * visible, first + r + 1, visible);
      sums[r] = softmax.sum;
      log_sum_exp[first + r] = softmax.log_sum_exp;
    }
    gemm(Layout::kPlain, Layout::kPlain, rows, dim, visible, C(1), scores, visible, values, dim, C(0), result, dim);
    for (std::int64_t r = 0; r < rows; ++r) {
      const C factor = C(1) / sums[r];
      for (std::int64_t i = 0; i < dim; ++i) result[r * dim + i] *= factor;
    }
    store_rows(args.output, layout.output(document.start + first, head), layout.output_stride(), rows, dim, result);
  }
}

void zero_padding(const AttentionForward& args, const Context& context) {
  const std::int64_t first = args.documents.attended_tokens;
  zero_rows(context, args.output, args.query_heads * args.head_dim, first, args.tokens_count);
  for (std::int64_t head = 0; head < args.query_heads; ++head) {
    zero_rows(context, args.log_sum_exp, 1, head * args.tokens_count + first, (head + 1) * args.tokens_count);
  }
}

}  // namespace

std::size_t workspace_bytes(const AttentionForward& args, int threads) {
  return with_compute_type(args.qkv.dtype(),
                           [&]<typename C>(C) { return static_cast<std::size_t>(threads) * thread_bytes<C>(args); });
}

void run(const AttentionForward& args, const Context& context) {
  require_workspace(context, kOp, workspace_bytes(args, context.threads));
  with_compute_type(args.qkv.dtype(), [&]<typename C>(C) {
    const std::size_t bytes = thread_bytes<C>(args);
    const std::int64_t tasks = attended_documents(args.documents) * args.query_heads;
    parallel_for(context, tasks, [&](std::int64_t task, int thread) {
      attend<C>(args, document_range(args.documents, task / args.query_heads), task % args.query_heads,
                Scratch::of_thread(context, kOp, thread, bytes));
    });
  });
  zero_padding(args, context);
}

}  // namespace llama_zero::cpu
