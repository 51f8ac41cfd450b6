// Attention of one new token a sequence against its cache, and filling caches after a prefill.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/check.h"
#include "kernels/cpu/attention.h"
#include "kernels/cpu/convert.h"
#include "kernels/cpu/vector_math.h"

namespace llama_zero::cpu {

namespace {

constexpr const char* kOp = "attention_decode";
constexpr std::int64_t kSlotBlock = 64;  // slots of a cache that are converted at a time

/// Copies elements between tensors of one dtype.
void copy_elements(const ConstView& source, std::int64_t from, const View& destination, std::int64_t to,
                   std::int64_t count) {
  const std::size_t size = size_of(source.dtype());
  std::memcpy(destination.raw() + static_cast<std::size_t>(to) * size,
              source.raw() + static_cast<std::size_t>(from) * size, static_cast<std::size_t>(count) * size);
}

template <typename C>
std::size_t thread_bytes(const AttentionDecode& args) {
  return scratch_bytes<C>(kSlotBlock * args.head_dim) + scratch_bytes<C>(args.capacity);
}

struct CacheHead {
  std::int64_t offset;  // of slot 0
  std::int64_t stride;  // from slot to slot
  std::int64_t slots;
};

/// Calls body(first slot, slots, numbers [slots, head_dim]) over one head of a cache.
template <typename C, typename Body>
void for_slots(const ConstView& cache, const CacheHead& head, std::int64_t dim, C* buffer, const Body& body) {
  for (std::int64_t slot = 0; slot < head.slots; slot += kSlotBlock) {
    const std::int64_t count = std::min(kSlotBlock, head.slots - slot);
    load_rows(cache, head.offset + slot * head.stride, head.stride, count, dim, buffer);
    body(slot, count, buffer);
  }
}

template <typename C>
void attend(const AttentionDecode& args, std::int64_t sequence, std::int64_t head, Scratch scratch) {
  const QkvLayout layout{args.query_heads, args.kv_heads, args.head_dim};
  const std::int64_t dim = args.head_dim;
  const std::int64_t width = args.kv_heads * dim;
  const CacheHead cache{sequence * args.capacity * width + head / layout.group() * dim, width,
                        args.host_lengths[static_cast<std::size_t>(sequence)] + std::int64_t{1}};
  C* block = scratch.take<C>(kSlotBlock * dim);
  C* scores = scratch.take<C>(args.capacity);
  C query[kMaxHeadDim];
  C result[kMaxHeadDim];
  load(args.qkv, layout.query(sequence, head), dim, query);
  std::fill_n(result, dim, C(0));
  for_slots(ConstView(args.key_cache), cache, dim, block, [&](std::int64_t slot, std::int64_t count, const C* keys) {
    for (std::int64_t k = 0; k < count; ++k) {
      scores[slot + k] = dot(query, keys + k * dim, dim) * static_cast<C>(args.scale);
    }
  });
  const C largest = maximum(scores, cache.slots, -std::numeric_limits<C>::infinity());
#pragma omp simd
  for (std::int64_t k = 0; k < cache.slots; ++k) scores[k] = exponential(scores[k] - largest);
  const C factor = C(1) / sum(scores, cache.slots);
  for_slots(ConstView(args.value_cache), cache, dim, block,
            [&](std::int64_t slot, std::int64_t count, const C* values) {
              for (std::int64_t k = 0; k < count; ++k) {
                const C weight = scores[slot + k];
                for (std::int64_t i = 0; i < dim; ++i) result[i] = std::fma(weight, values[k * dim + i], result[i]);
              }
            });
  for (std::int64_t i = 0; i < dim; ++i) result[i] *= factor;
  store(args.output, layout.output(sequence, head), dim, result);
}

void append_to_caches(const AttentionDecode& args) {
  const QkvLayout layout{args.query_heads, args.kv_heads, args.head_dim};
  const std::int64_t width = args.kv_heads * args.head_dim;
  for (std::int64_t b = 0; b < args.batch; ++b) {
    const std::int64_t slot = b * args.capacity + args.host_lengths[static_cast<std::size_t>(b)];
    copy_elements(args.qkv, layout.key(b, 0), args.key_cache, slot * width, width);
    copy_elements(args.qkv, layout.value(b, 0), args.value_cache, slot * width, width);
  }
}

}  // namespace

std::size_t workspace_bytes(const AttentionDecode& args, int threads) {
  return with_compute_type(args.qkv.dtype(),
                           [&]<typename C>(C) { return static_cast<std::size_t>(threads) * thread_bytes<C>(args); });
}

void run(const AttentionDecode& args, const Context& context) {
  require_workspace(context, kOp, workspace_bytes(args, context.threads));
  append_to_caches(args);
  with_compute_type(args.qkv.dtype(), [&]<typename C>(C) {
    const std::size_t bytes = thread_bytes<C>(args);
    parallel_for(context, args.batch * args.query_heads, [&](std::int64_t task, int thread) {
      attend<C>(args, task / args.query_heads, task % args.query_heads,
                Scratch::of_thread(context, kOp, thread, bytes));
    });
  });
}

void run(const StoreKeyValue& args, const Context& context) {
  const QkvLayout layout{args.query_heads, args.kv_heads, args.head_dim};
  const std::int64_t width = args.kv_heads * args.head_dim;
  parallel_for(context, attended_documents(args.documents), [&](std::int64_t d, int) {
    const DocumentRange document = document_range(args.documents, d);
    for (std::int64_t t = 0; t < document.length; ++t) {
      const std::int64_t slot = (d * args.capacity + t) * width;
      copy_elements(args.qkv, layout.key(document.start + t, 0), args.key_cache, slot, width);
      copy_elements(args.qkv, layout.value(document.start + t, 0), args.value_cache, slot, width);
    }
  });
}

}  // namespace llama_zero::cpu
