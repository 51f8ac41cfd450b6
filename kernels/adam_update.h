// Adam's update of one element, with decoupled or L2 weight decay: one function for CUDA and every CPU path,
// bit-identical on all of them.
//
// Decoupled: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019, algorithm 2, in PyTorch's and
// DeepSpeed's arrangement: theta -= lr * ((m / c1) / (sqrt(v) / sqrt(c2) + eps) + weight_decay * theta). L2: Kingma and
// Ba, "Adam", ICLR 2015, algorithm 1, on the gradient g + weight_decay * theta. Every operation is one IEEE operation
// (fma where written), so no compiler may regroup it; files that include this are built without fast-math, contraction
// or flush-to-zero.
#pragma once

#include <cmath>

#include "kernels/step_state.h"

namespace llama_zero {

/// Constants of one update, the same for all elements; T is float, or double in the reference.
template <typename T, bool kDecoupled>
struct AdamUpdate {
  T beta1, beta2, one_minus_beta1, one_minus_beta2, eps, weight_decay, lr, bias_correction1, bias_correction2_sqrt;

  /// `gradient` is unscaled and clipped. Updates m, v and theta in place.
  LLAMA_ZERO_HD void operator()(T gradient, T& m, T& v, T& theta) const {
    using std::fma;
    using std::sqrt;
    if constexpr (!kDecoupled) gradient = fma(weight_decay, theta, gradient);
    m = fma(beta1, m, one_minus_beta1 * gradient);
    v = fma(beta2, v, one_minus_beta2 * (gradient * gradient));
    const T denominator = sqrt(v) / bias_correction2_sqrt + eps;
    const T direction = (m / bias_correction1) / denominator;
    theta = fma(-lr, kDecoupled ? fma(weight_decay, theta, direction) : direction, theta);
  }
};

/// What an update is made of beside the step's state.
template <bool kDecoupled>
struct AdamRule {
  static constexpr int kStates = 2;  ///< m, v
  double eps, weight_decay;

  template <typename T>
  LLAMA_ZERO_HD AdamUpdate<T, kDecoupled> at(const StepState& state) const {
    return {static_cast<T>(state.beta1),
            static_cast<T>(state.beta2),
            static_cast<T>(1.0 - state.beta1),
            static_cast<T>(1.0 - state.beta2),
            static_cast<T>(eps),
            static_cast<T>(weight_decay),
            static_cast<T>(state.lr),
            static_cast<T>(state.bias_correction1),
            static_cast<T>(state.bias_correction2_sqrt)};
  }
};

}  // namespace llama_zero
