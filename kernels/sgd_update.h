// The update of one element by stochastic gradient descent: one function for CUDA and every CPU path, bit-identical on
// all of them (kernels/adam_update.h says how).
//
// torch.optim.SGD: g += weight_decay * theta; with momentum, buffer = g at the first update and momentum * buffer +
// (1 - dampening) * g later, and the direction is the buffer, or g + momentum * buffer with Nesterov's momentum
// (Sutskever et al., ICML 2013); theta -= lr * direction.
#pragma once

#include <cmath>

#include "kernels/step_state.h"

namespace llama_zero {

/// Constants of one update, the same for all elements; T is float, or double in the reference.
template <typename T>
struct SgdUpdate {
  T weight_decay, lr;

  /// `gradient` is unscaled and clipped. Updates theta in place.
  LLAMA_ZERO_HD void operator()(T gradient, T& theta) const {
    using std::fma;
    theta = fma(-lr, fma(weight_decay, theta, gradient), theta);
  }
};

/// Plain descent: no state.
struct SgdRule {
  static constexpr int kStates = 0;
  double weight_decay;

  template <typename T>
  LLAMA_ZERO_HD SgdUpdate<T> at(const StepState& state) const {
    return {static_cast<T>(weight_decay), static_cast<T>(state.lr)};
  }
};

template <typename T, bool kNesterov>
struct MomentumUpdate {
  T weight_decay, lr, kept, gain, momentum;  ///< buffer = kept * buffer + gain * gradient

  /// `gradient` is unscaled and clipped. Updates buffer and theta in place; the buffer starts as zero.
  LLAMA_ZERO_HD void operator()(T gradient, T& buffer, T& theta) const {
    using std::fma;
    gradient = fma(weight_decay, theta, gradient);
    buffer = fma(kept, buffer, gain * gradient);
    theta = fma(-lr, kNesterov ? fma(momentum, buffer, gradient) : buffer, theta);
  }
};

/// Descent with momentum.
template <bool kNesterov>
struct MomentumRule {
  static constexpr int kStates = 1;  ///< momentum buffer
  double weight_decay, momentum, dampening;

  template <typename T>
  LLAMA_ZERO_HD MomentumUpdate<T, kNesterov> at(const StepState& state) const {
    const bool first = state.applied_steps <= 1;
    return {static_cast<T>(weight_decay), static_cast<T>(state.lr), static_cast<T>(first ? 0.0 : momentum),
            static_cast<T>(first ? 1.0 : 1.0 - dampening), static_cast<T>(momentum)};
  }
};

}  // namespace llama_zero
