// AVX2, FMA and F16C; compiled with those flags whatever the rest of the program is compiled for.
#if defined(__x86_64__)

#include <immintrin.h>

#include "kernels/cpu/host_adam_kernels.h"

namespace llama_zero::cpu {

namespace {

constexpr int kLanes = 8;

struct Constants {
  __m256 beta1, beta2, one_minus_beta1, one_minus_beta2, eps, weight_decay, minus_lr, correction1, correction2_sqrt;
  __m256 multiplier;
};

/// kernels/adam_update.h, operation by operation.
template <bool kDecoupled>
void update(const Constants& c, __m256 gradient, __m256& m, __m256& v, __m256& theta) {
  gradient = _mm256_mul_ps(gradient, c.multiplier);
  if constexpr (!kDecoupled) gradient = _mm256_fmadd_ps(c.weight_decay, theta, gradient);
  m = _mm256_fmadd_ps(c.beta1, m, _mm256_mul_ps(c.one_minus_beta1, gradient));
  v = _mm256_fmadd_ps(c.beta2, v, _mm256_mul_ps(c.one_minus_beta2, _mm256_mul_ps(gradient, gradient)));
  const __m256 denominator = _mm256_add_ps(_mm256_div_ps(_mm256_sqrt_ps(v), c.correction2_sqrt), c.eps);
  __m256 direction = _mm256_div_ps(_mm256_div_ps(m, c.correction1), denominator);
  if constexpr (kDecoupled) direction = _mm256_fmadd_ps(c.weight_decay, theta, direction);
  theta = _mm256_fmadd_ps(c.minus_lr, direction, theta);
}

template <DType kType>
__m256 load(const void* data, std::int64_t i) {
  if constexpr (kType == DType::kF32) return _mm256_loadu_ps(static_cast<const float*>(data) + i);
  const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(static_cast<const std::uint16_t*>(data) + i));
  if constexpr (kType == DType::kF16) return _mm256_cvtph_ps(bits);
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}

/// Rounded to nearest even; NaN stays NaN.
template <DType kType>
__m128i narrow(__m256 values) {
  if constexpr (kType == DType::kF16) return _mm256_cvtps_ph(values, _MM_FROUND_TO_NEAREST_INT);
  const __m256i bits = _mm256_castps_si256(values);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
  const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
  const __m256i is_nan = _mm256_castps_si256(_mm256_cmp_ps(values, values, _CMP_UNORD_Q));
  const __m256i upper = _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, is_nan), 16);
  return _mm_packus_epi32(_mm256_castsi256_si128(upper), _mm256_extracti128_si256(upper, 1));
}

template <DType kType, bool kStream>
void store(void* data, std::int64_t i, __m256 values) {
  if constexpr (kType == DType::kF32) {
    float* const to = static_cast<float*>(data) + i;
    kStream ? _mm256_stream_ps(to, values) : _mm256_storeu_ps(to, values);
  } else {
    auto* const to = reinterpret_cast<__m128i*>(static_cast<std::uint16_t*>(data) + i);
    kStream ? _mm_stream_si128(to, narrow<kType>(values)) : _mm_storeu_si128(to, narrow<kType>(values));
  }
}

template <bool kDecoupled, DType kGradient, DType kWeights, bool kStream>
void run(const Constants& c, const HostAdamArrays& a, std::int64_t begin, std::int64_t end) {
  for (std::int64_t group = begin; group < end; group += kHostAdamGroup) {
    __m256 theta[kHostAdamGroup / kLanes];
    for (int k = 0; k < kHostAdamGroup / kLanes; ++k) {
      const std::int64_t i = group + k * kLanes;
      __m256 m = _mm256_loadu_ps(a.exp_avg + i);
      __m256 v = _mm256_loadu_ps(a.exp_avg_sq + i);
      theta[k] = _mm256_loadu_ps(a.master + i);
      update<kDecoupled>(c, load<kGradient>(a.gradient, i), m, v, theta[k]);
      _mm256_storeu_ps(a.exp_avg + i, m);
      _mm256_storeu_ps(a.exp_avg_sq + i, v);
      _mm256_storeu_ps(a.master + i, theta[k]);
    }
    if constexpr (kWeights == kNoWeights) continue;
    // A whole line of them at once, so that a streaming store is one write.
    for (int k = 0; k < kHostAdamGroup / kLanes; ++k) store<kWeights, kStream>(a.weights, group + k * kLanes, theta[k]);
  }
  if constexpr (kStream) _mm_sfence();
}

}  // namespace

void host_adam_avx2(const HostAdamConstants& c, const HostAdamArrays& arrays, std::int64_t begin, std::int64_t end) {
  const Constants constants{_mm256_set1_ps(c.beta1),
                            _mm256_set1_ps(c.beta2),
                            _mm256_set1_ps(c.one_minus_beta1),
                            _mm256_set1_ps(c.one_minus_beta2),
                            _mm256_set1_ps(c.eps),
                            _mm256_set1_ps(c.weight_decay),
                            _mm256_set1_ps(-c.lr),
                            _mm256_set1_ps(c.bias_correction1),
                            _mm256_set1_ps(c.bias_correction2_sqrt),
                            _mm256_set1_ps(c.gradient_multiplier)};
  select_host_adam(c, arrays, [&]<bool kDecoupled, DType kGradient, DType kWeights, bool kStream>() {
    run<kDecoupled, kGradient, kWeights, kStream>(constants, arrays, begin, end);
  });
}

}  // namespace llama_zero::cpu

#endif
