// The path that every processor runs, and the last elements of the others.
#include <algorithm>

#include "kernels/adam_update.h"
#include "kernels/cpu/context.h"
#include "kernels/cpu/convert.h"
#include "kernels/cpu/host_adam_kernels.h"

namespace llama_zero::cpu {

namespace {

template <bool kDecoupled>
void update(const HostAdamConstants& c, const HostAdamArrays& arrays, std::int64_t begin, std::int64_t end) {
  const AdamUpdate<float, kDecoupled> update{c.beta1,        c.beta2, c.one_minus_beta1,  c.one_minus_beta2,      c.eps,
                                             c.weight_decay, c.lr,    c.bias_correction1, c.bias_correction2_sqrt};
  const ConstView gradients(static_cast<const std::byte*>(arrays.gradient), end, arrays.gradient_dtype);
  const View weights(static_cast<std::byte*>(arrays.weights), end, arrays.weights_dtype);
  float buffer[kBlock];
  for (std::int64_t offset = begin; offset < end; offset += kBlock) {
    const std::int64_t count = std::min(kBlock, end - offset);
    const float* gradient = read(gradients, offset, count, buffer);
    float* theta = arrays.master + offset;
    float* m = arrays.exp_avg + offset;
    float* v = arrays.exp_avg_sq + offset;
#pragma omp simd
    for (std::int64_t i = 0; i < count; ++i) update(gradient[i] * c.gradient_multiplier, m[i], v[i], theta[i]);
    if (arrays.weights_dtype != kNoWeights) store(weights, offset, count, theta);
  }
}

}  // namespace

void host_adam_portable(const HostAdamConstants& constants, const HostAdamArrays& arrays, std::int64_t begin,
                        std::int64_t end) {
  constants.decoupled ? update<true>(constants, arrays, begin, end) : update<false>(constants, arrays, begin, end);
}

}  // namespace llama_zero::cpu
