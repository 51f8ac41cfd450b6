// The paths of host_adam, for its dispatcher. What is here is plain data: files that are compiled for wider
// instructions must not emit inline functions that others share, since the linker may keep the one that an older
// processor cannot run.
#pragma once

#include <cstdint>

#include "core/dtype.h"

namespace llama_zero::cpu {

/// What all elements have in common: the fields of AdamUpdate<float> and the factor of the gradient.
struct HostAdamConstants {
  float beta1, beta2, one_minus_beta1, one_minus_beta2, eps, weight_decay, lr, bias_correction1, bias_correction2_sqrt;
  float gradient_multiplier;
  bool decoupled;
};

inline constexpr DType kNoWeights = DType::kU8;

struct HostAdamArrays {
  float *master, *exp_avg, *exp_avg_sq;
  const void* gradient;
  void* weights;
  DType gradient_dtype;
  DType weights_dtype;  ///< kNoWeights: none
  bool stream_weights;  ///< weights + a multiple of kHostAdamGroup elements is aligned to 64 bytes
};

/// Elements that the SIMD paths take at a time: 64 bytes of 16-bit weights. Rests are the portable path's.
inline constexpr std::int64_t kHostAdamGroup = 32;

/// Updates elements [begin, end). For the SIMD paths both are multiples of kHostAdamGroup.
using HostAdamKernel = void(const HostAdamConstants& constants, const HostAdamArrays& arrays, std::int64_t begin,
                            std::int64_t end);
HostAdamKernel host_adam_portable;
HostAdamKernel host_adam_avx2;    ///< on x86-64 only
HostAdamKernel host_adam_avx512;  ///< on x86-64 only

/// Calls f.template operator()<kDecoupled, gradient's dtype, weights' dtype, kStream>() for what `arrays` hold.
/// Internal linkage: each file has its own.
template <typename F>
static void select_host_adam(const HostAdamConstants& constants, const HostAdamArrays& arrays, const F& f) {
  const auto with_weights = [&]<bool kDecoupled, DType kGradient, DType kWeights>() {
    arrays.stream_weights ? f.template operator()<kDecoupled, kGradient, kWeights, true>()
                          : f.template operator()<kDecoupled, kGradient, kWeights, false>();
  };
  const auto with_gradient = [&]<bool kDecoupled, DType kGradient>() {
    switch (arrays.weights_dtype) {
      case DType::kF32:
        return with_weights.template operator()<kDecoupled, kGradient, DType::kF32>();
      case DType::kF16:
        return with_weights.template operator()<kDecoupled, kGradient, DType::kF16>();
      case DType::kBF16:
        return with_weights.template operator()<kDecoupled, kGradient, DType::kBF16>();
      default:
        return f.template operator()<kDecoupled, kGradient, kNoWeights, false>();
    }
  };
  const auto with_decay = [&]<bool kDecoupled>() {
    switch (arrays.gradient_dtype) {
      case DType::kF16:
        return with_gradient.template operator()<kDecoupled, DType::kF16>();
      case DType::kBF16:
        return with_gradient.template operator()<kDecoupled, DType::kBF16>();
      default:
        return with_gradient.template operator()<kDecoupled, DType::kF32>();
    }
  };
  constants.decoupled ? with_decay.template operator()<true>() : with_decay.template operator()<false>();
}

}  // namespace llama_zero::cpu
