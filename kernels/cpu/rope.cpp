// Rotary position embedding on the fused qkv.
#include "kernels/check.h"
#include "kernels/cpu/convert.h"
#include "kernels/cpu/kernels.h"

namespace llama_zero::cpu {

namespace {

template <typename C>
void rotate_token(const Rope& args, std::int64_t token, std::int32_t position) {
  const std::int64_t half = args.head_dim / 2;
  C cosine[kMaxHeadDim / 2];
  C sine[kMaxHeadDim / 2];
  const C* table = args.cos_sin.as<C>() + position * args.head_dim;
  for (std::int64_t i = 0; i < half; ++i) {
    cosine[i] = table[2 * i];
    sine[i] = args.inverse ? -table[2 * i + 1] : table[2 * i + 1];
  }
  const std::int64_t heads = args.query_heads + args.kv_heads;
  const std::int64_t token_offset = token * (heads + args.kv_heads) * args.head_dim;
  for (std::int64_t head = 0; head < heads; ++head) {
    C x[kMaxHeadDim];
    const std::int64_t offset = token_offset + head * args.head_dim;
    load(ConstView(args.qkv), offset, args.head_dim, x);
#pragma omp simd
    for (std::int64_t i = 0; i < half; ++i) {
      const C lower = x[i];
      const C upper = x[i + half];
      x[i] = lower * cosine[i] - upper * sine[i];
      x[i + half] = upper * cosine[i] + lower * sine[i];
    }
    store(args.qkv, offset, args.head_dim, x);
  }
}

}  // namespace

void run(const Rope& args, const Context& context) {
  const std::int32_t* positions = args.positions.as<std::int32_t>();
  for (std::int64_t t = 0; t < args.tokens_count; ++t) {
    require(positions[t] >= 0 && positions[t] < args.max_position, "rope: positions[{}] is {}, the table has {} rows",
            t, positions[t], args.max_position);
  }
  const std::int64_t row = (args.query_heads + args.kv_heads) * args.head_dim;
  with_compute_type(args.qkv.dtype(), [&]<typename C>(C) {
    parallel_rows(context, args.tokens_count, row, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t t = first; t < last; ++t) rotate_token<C>(args, t, positions[t]);
    });
  });
}

}  // namespace llama_zero::cpu
