// How the ranks' gradients become one: DeepSpeed's keys communication_data_type, gradient_predivide_factor,
// prescale_gradients, gradient_allreduce_op and reduce_scatter as arithmetic.
//
// A rank's gradient g (accumulation dtype) travels as w = round(g * before) in the wire's dtype. The owner adds the
// ranks' w in rank order in fp32, and rounds that sum times `after` to the accumulation dtype: once, or, with
// `round_sum`, once to the wire's dtype before it is scaled, as an all-reduce does. One rank communicates nothing: its
// gradient stays as it is, whatever is said here.
#pragma once

#include <cstdint>
#include <optional>

#include "core/dtype.h"

namespace llama_zero {

struct GradientAveraging {
  std::optional<DType> wire;  ///< absent: the accumulation dtype
  /// The sum of the ranks' gradients is divided by their number; false: it stays the sum.
  bool mean = true;
  /// What a rank divides its gradient by before it travels (the sum is then divided by ranks / predivide); absent: the
  /// number of ranks. Not used for sums.
  std::optional<double> predivide = 1.0;
  bool round_sum = false;
};

/// The same as factors.
struct AveragingFactors {
  double before = 1.0, after = 1.0;
};

inline AveragingFactors factors_of(const GradientAveraging& averaging, int ranks) {
  if (!averaging.mean) return {};
  const auto count = static_cast<double>(ranks);
  if (!averaging.predivide) return {1.0 / count, 1.0};
  return {1.0 / *averaging.predivide, *averaging.predivide / count};
}

}  // namespace llama_zero
