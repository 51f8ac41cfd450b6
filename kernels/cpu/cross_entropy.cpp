// Softmax cross-entropy, forward and backward in place. Each row is walked in blocks three times (maximum, sum of
// exponentials, gradient): converting twice more is cheaper than keeping a row of any length in fp32.
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cpu/convert.h"
#include "kernels/cpu/kernels.h"
#include "kernels/cpu/vector_math.h"

namespace llama_zero::cpu {

namespace {

/// log of the sum of exp(logit - max) is the normaliser of a row.
template <typename C>
struct RowStatistics {
  C max;
  C sum;
};

template <typename C>
RowStatistics<C> row_statistics(const ConstView& logits, std::int64_t start, std::int64_t vocab_size) {
  RowStatistics<C> result{-std::numeric_limits<C>::infinity(), C(0)};
  for_blocks(vocab_size, [&](std::int64_t column, std::int64_t count) {
    C buffer[kBlock];
    result.max = maximum(read(logits, start + column, count, buffer), count, result.max);
  });
  for_blocks(vocab_size, [&](std::int64_t column, std::int64_t count) {
    C buffer[kBlock];
    C power[kBlock];
    const C* x = read(logits, start + column, count, buffer);
#pragma omp simd
    for (std::int64_t i = 0; i < count; ++i) power[i] = exponential(x[i] - result.max);
    result.sum += sum(power, count);
  });
  return result;
}

template <typename C>
void write_gradient(const CrossEntropy& args, std::int64_t row, std::int32_t target, const RowStatistics<C>& statistics,
                    C seed) {
  const std::int64_t start = row * args.vocab_size;
  const C factor = seed / statistics.sum;
  for_blocks(args.vocab_size, [&](std::int64_t column, std::int64_t count) {
    C x[kBlock];
    load(ConstView(args.logits), start + column, count, x);
#pragma omp simd
    for (std::int64_t i = 0; i < count; ++i) x[i] = exponential(x[i] - statistics.max) * factor;
    if (target >= column && target < column + count) x[target - column] -= seed;
    store(args.logits, start + column, count, x);
  });
}

template <typename C>
void write_zeros(const CrossEntropy& args, std::int64_t row) {
  const std::size_t bytes = static_cast<std::size_t>(args.vocab_size) * size_of(args.logits.dtype());
  std::fill_n(args.logits.raw() + static_cast<std::size_t>(row) * bytes, bytes, std::byte{0});
}

template <typename C>
void process_row(const CrossEntropy& args, std::int64_t row, C seed) {
  C* losses = args.losses.as<C>();
  const std::int32_t target = args.targets.as<std::int32_t>()[row];
  if (target == kIgnoreTarget) {
    losses[row] = 0;
    if (!args.forward_only) write_zeros<C>(args, row);
    return;
  }
  const std::int64_t start = row * args.vocab_size;
  const RowStatistics<C> statistics = row_statistics<C>(args.logits, start, args.vocab_size);
  C target_logit;
  load(ConstView(args.logits), start + target, 1, &target_logit);
  const C weight = args.weights ? static_cast<C>(args.weights.as<float>()[row]) : C(1);
  losses[row] = weight * (std::log(statistics.sum) + (statistics.max - target_logit));
  if (!args.forward_only) write_gradient(args, row, target, statistics, weight * seed);
}

}  // namespace

void run(const CrossEntropy& args, const Context& context) {
  const std::int32_t* targets = args.targets.as<std::int32_t>();
  for (std::int64_t t = 0; t < args.tokens_count; ++t) {
    require(targets[t] == kIgnoreTarget || (targets[t] >= 0 && targets[t] < args.vocab_size),
            "cross_entropy: targets[{}] is {}, the vocabulary has {} tokens", t, targets[t], args.vocab_size);
  }
  const double scale = args.loss_scale ? static_cast<double>(*args.loss_scale.as<float>()) : 1.0;
  with_compute_type(args.logits.dtype(), [&]<typename C>(C) {
    const C seed = static_cast<C>(args.seed_factor * scale);
    parallel_rows(context, args.tokens_count, args.vocab_size, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t row = first; row < last; ++row) process_row<C>(args, row, seed);
    });
  });
}

}  // namespace llama_zero::cpu
