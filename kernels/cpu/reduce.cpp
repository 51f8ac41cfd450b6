// Sums over ranks, over losses, and of squares: each in an order that the contract fixes.
#include <algorithm>
#include <bit>
#include <cmath>
#include <type_traits>

#include "kernels/cpu/convert.h"
#include "kernels/cpu/kernels.h"

namespace llama_zero::cpu {

namespace {

template <typename C>
void reduce_block(const ReducePieces& args, C factor, std::int64_t offset, std::int64_t count) {
  const std::int64_t piece = args.output.numel();
  C total[kBlock];
  C buffer[kBlock];
  load(args.pieces, offset, count, total);
  for (std::int64_t rank = 1; rank < args.ranks; ++rank) {
    const C* values = read(args.pieces, rank * piece + offset, count, buffer);
    for (std::int64_t i = 0; i < count; ++i) total[i] += values[i];
  }
  for (std::int64_t i = 0; i < count; ++i) total[i] *= factor;
  if (args.accumulate) {
    const C* old = read(ConstView(args.output), offset, count, buffer);
    for (std::int64_t i = 0; i < count; ++i) total[i] += old[i];
  }
  store(args.output, offset, count, total);
}

/// 1 for infinities and NaN: all bits of the exponent are set.
inline std::int32_t not_finite(float x) {
  return (std::bit_cast<std::uint32_t>(x) & 0x7f800000U) == 0x7f800000U ? 1 : 0;
}
inline std::int64_t not_finite(double x) {
  return (std::bit_cast<std::uint64_t>(x) & 0x7ff0000000000000U) == 0x7ff0000000000000U ? 1 : 0;
}

struct SegmentSum {
  double squares;
  std::int64_t not_finite;
};

/// One segment by the layout rule.
template <typename C>
SegmentSum segment_sum(const ConstView& values, std::int64_t offset, std::int64_t count) {
  C lanes[kNormLanes] = {};
  using Count = decltype(not_finite(C(0)));
  Count bad[kNormLanes] = {};
  C buffer[kNormSegment];
  const C* x = read(values, offset, count, buffer);
  for (std::int64_t start = 0; start < count; start += kNormLanes) {
    const std::int64_t width = std::min(kNormLanes, count - start);
    const C* row = x + start;
    for (std::int64_t l = 0; l < width; ++l) {
      lanes[l] = std::fma(row[l], row[l], lanes[l]);
      bad[l] += not_finite(row[l]);
    }
  }
  for (std::int64_t width = kNormLanes / 2; width > 0; width /= 2) {
    for (std::int64_t l = 0; l < width; ++l) {
      lanes[l] += lanes[l + width];
      bad[l] += bad[l + width];
    }
  }
  return {static_cast<double>(lanes[0]), static_cast<std::int64_t>(bad[0])};
}

}  // namespace

void run(const ReducePieces& args, const Context& context) {
  with_compute_type(wider(args.pieces.dtype(), args.output.dtype()), [&]<typename C>(C) {
    const C factor = static_cast<C>(args.factor);
    parallel_blocks(context, args.output.numel(),
                    [&](std::int64_t offset, std::int64_t count) { reduce_block<C>(args, factor, offset, count); });
  });
}

void run(const SumLosses& args, const Context&) {
  double* total = args.total.as<double>();
  double sum = args.accumulate ? *total : 0.0;
  with_compute_type(args.values.dtype(), [&]<typename C>(C) {
    const std::span<const C> values = args.values.span<C>();
    for (std::size_t first = 0; first < values.size(); first += kLossGroup) {
      double group = 0.0;
      for (const C value : values.subspan(first, std::min<std::size_t>(kLossGroup, values.size() - first))) {
        group += static_cast<double>(value);
      }
      sum += group;
    }
  });
  *total = sum;
}

void run(const SumOfSquares& args, const Context& context) {
  constexpr std::int64_t kBatch = 8 * kNormGroup;  // segments whose sums wait on the stack for their turn
  double* result = args.result.as<double>();
  double squares = args.accumulate ? result[0] : 0.0;
  double bad = args.accumulate ? result[1] : 0.0;
  const std::int64_t count = args.values.numel();
  const std::int64_t segments = (count + kNormSegment - 1) / kNormSegment;
  with_compute_type(args.values.dtype(), [&]<typename C>(C) {
    for (std::int64_t first = 0; first < segments; first += kBatch) {
      SegmentSum sums[kBatch];
      const std::int64_t batch = std::min(kBatch, segments - first);
      parallel_for(context, batch, [&](std::int64_t s, int) {
        const std::int64_t offset = (first + s) * kNormSegment;
        sums[s] = segment_sum<C>(args.values, offset, std::min(kNormSegment, count - offset));
      });
      for (std::int64_t begin = 0; begin < batch; begin += kNormGroup) {
        double group = 0.0;
        for (std::int64_t s = begin; s < std::min(batch, begin + kNormGroup); ++s) {
          group += sums[s].squares;
          bad += static_cast<double>(sums[s].not_finite);
        }
        squares += group;
      }
    }
  });
  result[0] = squares;
  result[1] = bad;
}

}  // namespace llama_zero::cpu
