// Adagrad's update of one element: one function for CUDA and every CPU path, bit-identical on all of them
// (kernels/adam_update.h says how).
//
// Duchi, Hazan and Singer, "Adaptive Subgradient Methods", JMLR 2011, in torch.optim.Adagrad's arrangement:
// g += weight_decay * theta; sum += g * g; theta -= lr / (1 + (s - 1) * lr_decay) * g / (sqrt(sum) + eps) at update s.
#pragma once

#include <cmath>

#include "kernels/step_state.h"

namespace llama_zero {

/// Constants of one update, the same for all elements; T is float, or double in the reference.
template <typename T>
struct AdagradUpdate {
  T eps, weight_decay, lr;

  /// `gradient` is unscaled and clipped. Updates sum and theta in place.
  LLAMA_ZERO_HD void operator()(T gradient, T& sum, T& theta) const {
    using std::fma;
    using std::sqrt;
    gradient = fma(weight_decay, theta, gradient);
    sum = fma(gradient, gradient, sum);
    theta = fma(-lr, gradient / (sqrt(sum) + eps), theta);
  }
};

/// What an update is made of beside the step's state.
struct AdagradRule {
  static constexpr int kStates = 1;  ///< sum of squares
  double eps, weight_decay;

  template <typename T>
  LLAMA_ZERO_HD AdagradUpdate<T> at(const StepState& state) const {
    return {static_cast<T>(eps), static_cast<T>(weight_decay), static_cast<T>(state.lr / state.lr_divisor)};
  }
};

}  // namespace llama_zero
