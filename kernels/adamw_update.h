// AdamW's update of one element: one function for CUDA and every CPU path, bit-identical on all of them.
//
// Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019, algorithm 2, in PyTorch's and DeepSpeed's
// arrangement: theta -= lr * ((m / c1) / (sqrt(v) / sqrt(c2) + eps) + weight_decay * theta). Every operation is one IEEE
// operation (fma where written), so no compiler may regroup it; files that include this are built without fast-math,
// contraction or flush-to-zero.
#pragma once

#include <cmath>

#include "kernels/step_state.h"

namespace llama_zero {

/// Constants of one update, the same for all elements; T is float, or double in the reference.
template <typename T>
struct AdamWConstants {
  T beta1, beta2, one_minus_beta1, one_minus_beta2, eps, weight_decay, lr, bias_correction1, bias_correction2_sqrt;
};

/// `gradient` is unscaled and clipped. Updates m, v and theta in place.
template <typename T>
LLAMA_ZERO_HD inline void adamw_update(const AdamWConstants<T>& c, T gradient, T& m, T& v, T& theta) {
  using std::fma;
  using std::sqrt;
  m = fma(c.beta1, m, c.one_minus_beta1 * gradient);
  v = fma(c.beta2, v, c.one_minus_beta2 * (gradient * gradient));
  const T denominator = sqrt(v) / c.bias_correction2_sqrt + c.eps;
  const T direction = (m / c.bias_correction1) / denominator;
  theta = fma(-c.lr, fma(c.weight_decay, theta, direction), theta);
}

}  // namespace llama_zero
