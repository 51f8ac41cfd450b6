// Lion's update of one element: one function for CUDA and every CPU path, bit-identical on all of them
// (kernels/adam_update.h says how).
//
// Chen et al., "Symbolic Discovery of Optimization Algorithms", NeurIPS 2023, algorithm 2: the weight moves by lr
// against the sign of beta1 * m + (1 - beta1) * g, with decoupled decay. sign(0) is 0 as in the paper: a weight that
// never saw a gradient (padding, a token that does not occur) only decays. DeepSpeed's GPU kernel moves it by +lr
// instead, an artefact that is not copied. A NaN stays one.
#pragma once

#include <cmath>

#include "kernels/step_state.h"

namespace llama_zero {

/// Constants of one update, the same for all elements; T is float, or double in the reference.
template <typename T>
struct LionUpdate {
  T beta1, beta2, one_minus_beta1, one_minus_beta2, weight_decay, lr;

  /// `gradient` is unscaled and clipped. Updates m and theta in place.
  LLAMA_ZERO_HD void operator()(T gradient, T& m, T& theta) const {
    using std::fma;
    const T mixed = fma(beta1, m, one_minus_beta1 * gradient);
    const T sign = mixed > T(0) ? T(1) : (mixed < T(0) ? T(-1) : mixed);
    theta = fma(-lr, fma(weight_decay, theta, sign), theta);
    m = fma(beta2, m, one_minus_beta2 * gradient);
  }
};

/// What an update is made of beside the step's state.
struct LionRule {
  static constexpr int kStates = 1;  ///< m
  double weight_decay;

  template <typename T>
  LLAMA_ZERO_HD LionUpdate<T> at(const StepState& state) const {
    return {static_cast<T>(state.beta1),       static_cast<T>(state.beta2),  static_cast<T>(1.0 - state.beta1),
            static_cast<T>(1.0 - state.beta2), static_cast<T>(weight_decay), static_cast<T>(state.lr)};
  }
};

}  // namespace llama_zero
