// Causal attention inside documents, backward. One task is one key-value head of one document: its query heads follow
// one another, so the gradients of keys and values are summed in a fixed order by one thread.
#include <algorithm>

#include "kernels/cpu/attention.h"
#include "kernels/cpu/blas.h"
#include "kernels/cpu/convert.h"
#include "kernels/cpu/vector_math.h"

namespace llama_zero::cpu {

namespace {

constexpr const char* kOp = "attention_backward";

template <typename C>
std::size_t thread_bytes(const AttentionBackward& args) {
  const std::int64_t longest = args.documents.longest;
  return 4 * scratch_bytes<C>(longest * args.head_dim) + 3 * scratch_bytes<C>(kQueryTile * args.head_dim) +
         2 * scratch_bytes<C>(kQueryTile * longest);
}

template <typename C>
struct Buffers {
  Buffers(const AttentionBackward& args, Scratch scratch)
      : keys(scratch.take<C>(args.documents.longest * args.head_dim)),
        values(scratch.take<C>(args.documents.longest * args.head_dim)),
        grad_keys(scratch.take<C>(args.documents.longest * args.head_dim)),
        grad_values(scratch.take<C>(args.documents.longest * args.head_dim)),
        queries(scratch.take<C>(kQueryTile * args.head_dim)),
        grad_output(scratch.take<C>(kQueryTile * args.head_dim)),
        output(scratch.take<C>(kQueryTile * args.head_dim)),
        probabilities(scratch.take<C>(kQueryTile * args.documents.longest)),
        grad_scores(scratch.take<C>(kQueryTile * args.documents.longest)) {}

  C *keys, *values, *grad_keys, *grad_values;
  C *queries, *grad_output, *output;
  C *probabilities, *grad_scores;
};

/// From scores and d(probabilities) of a row to probabilities and d(scores).
template <typename C>
void softmax_backward_row(C* scores, C* grad, std::int64_t visible, std::int64_t keys, C log_sum_exp, C delta,
                          C scale) {
#pragma omp simd
  for (std::int64_t k = 0; k < visible; ++k) {
    const C probability = exponential(scores[k] - log_sum_exp);
    scores[k] = probability;
    grad[k] = probability * (grad[k] - delta) * scale;
  }
  std::fill(scores + visible, scores + keys, C(0));
  std::fill(grad + visible, grad + keys, C(0));
}

/// One tile of queries of one head: writes its d(queries), adds to d(keys) and d(values).
template <typename C>
void tile_backward(const AttentionBackward& args, const QkvLayout& layout, const DocumentRange& document,
                   std::int64_t head, std::int64_t first, const Buffers<C>& buffers) {
  const std::int64_t dim = args.head_dim;
  const std::int64_t rows = std::min(kQueryTile, document.length - first);
  const std::int64_t visible = first + rows;
  const std::int64_t token = document.start + first;
  const C scale = static_cast<C>(args.scale);
  const C* log_sum_exp = args.log_sum_exp.as<C>() + head * args.tokens_count + token;
  load_rows(args.qkv, layout.query(token, head), layout.stride(), rows, dim, buffers.queries);
  load_rows(args.grad_output, layout.output(token, head), layout.output_stride(), rows, dim, buffers.grad_output);
  load_rows(args.output, layout.output(token, head), layout.output_stride(), rows, dim, buffers.output);

  gemm(Layout::kPlain, Layout::kTransposed, rows, visible, dim, scale, buffers.queries, dim, buffers.keys, dim, C(0),
       buffers.probabilities, visible);
  gemm(Layout::kPlain, Layout::kTransposed, rows, visible, dim, C(1), buffers.grad_output, dim, buffers.values, dim,
       C(0), buffers.grad_scores, visible);
  for (std::int64_t r = 0; r < rows; ++r) {
    const C delta = dot(buffers.grad_output + r * dim, buffers.output + r * dim, dim);
    softmax_backward_row(buffers.probabilities + r * visible, buffers.grad_scores + r * visible, first + r + 1, visible,
                         log_sum_exp[r], delta, scale);
  }
  gemm(Layout::kTransposed, Layout::kPlain, visible, dim, rows, C(1), buffers.probabilities, visible,
       buffers.grad_output, dim, C(1), buffers.grad_values, dim);
  gemm(Layout::kTransposed, Layout::kPlain, visible, dim, rows, C(1), buffers.grad_scores, visible, buffers.queries,
       dim, C(1), buffers.grad_keys, dim);
  C* grad_queries = buffers.output;  // the output's tile is done with
  gemm(Layout::kPlain, Layout::kPlain, rows, dim, visible, C(1), buffers.grad_scores, visible, buffers.keys, dim, C(0),
       grad_queries, dim);
  store_rows(args.grad_qkv, layout.query(token, head), layout.stride(), rows, dim, grad_queries);
}

template <typename C>
void group_backward(const AttentionBackward& args, const DocumentRange& document, std::int64_t kv_head,
                    Scratch scratch) {
  const QkvLayout layout{args.query_heads, args.kv_heads, args.head_dim};
  const Buffers<C> buffers(args, scratch);
  const std::int64_t elements = document.length * args.head_dim;
  const auto load_head = [&](std::int64_t offset, C* out) {
    load_rows(args.qkv, offset, layout.stride(), document.length, args.head_dim, out);
  };
  const auto store_head = [&](std::int64_t offset, const C* in) {
    store_rows(args.grad_qkv, offset, layout.stride(), document.length, args.head_dim, in);
  };
  load_head(layout.key(document.start, kv_head), buffers.keys);
  load_head(layout.value(document.start, kv_head), buffers.values);
  std::fill_n(buffers.grad_keys, elements, C(0));
  std::fill_n(buffers.grad_values, elements, C(0));
  for (std::int64_t head = kv_head * layout.group(); head < (kv_head + 1) * layout.group(); ++head) {
    for (std::int64_t first = 0; first < document.length; first += kQueryTile) {
      tile_backward(args, layout, document, head, first, buffers);
    }
  }
  store_head(layout.key(document.start, kv_head), buffers.grad_keys);
  store_head(layout.value(document.start, kv_head), buffers.grad_values);
}

}  // namespace

std::size_t workspace_bytes(const AttentionBackward& args, int threads) {
  return with_compute_type(args.qkv.dtype(),
                           [&]<typename C>(C) { return static_cast<std::size_t>(threads) * thread_bytes<C>(args); });
}

void run(const AttentionBackward& args, const Context& context) {
  require_workspace(context, kOp, workspace_bytes(args, context.threads));
  with_compute_type(args.qkv.dtype(), [&]<typename C>(C) {
    const std::size_t bytes = thread_bytes<C>(args);
    const std::int64_t tasks = attended_documents(args.documents) * args.kv_heads;
    parallel_for(context, tasks, [&](std::int64_t task, int thread) {
      group_backward<C>(args, document_range(args.documents, task / args.kv_heads), task % args.kv_heads,
                        Scratch::of_thread(context, kOp, thread, bytes));
    });
  });
  const QkvLayout layout{args.query_heads, args.kv_heads, args.head_dim};
  zero_rows(context, args.grad_qkv, layout.stride(), args.documents.attended_tokens, args.tokens_count);
}

}  // namespace llama_zero::cpu
