// AVX-512 (its foundation alone); compiled with that flag whatever the rest of the program is compiled for.
#if defined(__x86_64__)

#include <immintrin.h>

#include "kernels/cpu/host_adam_kernels.h"

namespace llama_zero::cpu {

namespace {

constexpr int kLanes = 16;

struct Constants {
  __m512 beta1, beta2, one_minus_beta1, one_minus_beta2, eps, weight_decay, minus_lr, correction1, correction2_sqrt;
  __m512 multiplier;
};

/// kernels/adam_update.h, operation by operation.
template <bool kDecoupled>
void update(const Constants& c, __m512 gradient, __m512& m, __m512& v, __m512& theta) {
  gradient = _mm512_mul_ps(gradient, c.multiplier);
  if constexpr (!kDecoupled) gradient = _mm512_fmadd_ps(c.weight_decay, theta, gradient);
  m = _mm512_fmadd_ps(c.beta1, m, _mm512_mul_ps(c.one_minus_beta1, gradient));
  v = _mm512_fmadd_ps(c.beta2, v, _mm512_mul_ps(c.one_minus_beta2, _mm512_mul_ps(gradient, gradient)));
  const __m512 denominator = _mm512_add_ps(_mm512_div_ps(_mm512_sqrt_ps(v), c.correction2_sqrt), c.eps);
  __m512 direction = _mm512_div_ps(_mm512_div_ps(m, c.correction1), denominator);
  if constexpr (kDecoupled) direction = _mm512_fmadd_ps(c.weight_decay, theta, direction);
  theta = _mm512_fmadd_ps(c.minus_lr, direction, theta);
}

template <DType kType>
__m512 load(const void* data, std::int64_t i) {
  if constexpr (kType == DType::kF32) return _mm512_loadu_ps(static_cast<const float*>(data) + i);
  const __m256i bits =
      _mm256_loadu_si256(reinterpret_cast<const __m256i*>(static_cast<const std::uint16_t*>(data) + i));
  if constexpr (kType == DType::kF16) return _mm512_cvtph_ps(bits);
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}

/// Rounded to nearest even; NaN stays NaN.
template <DType kType>
__m256i narrow(__m512 values) {
  if constexpr (kType == DType::kF16) return _mm512_cvtps_ph(values, _MM_FROUND_TO_NEAREST_INT);
  const __m512i bits = _mm512_castps_si512(values);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
  const __mmask16 is_nan = _mm512_cmp_ps_mask(values, values, _CMP_UNORD_Q);
  const __m512i chosen = _mm512_mask_or_epi32(rounded, is_nan, bits, _mm512_set1_epi32(0x400000));
  return _mm512_cvtepi32_epi16(_mm512_srli_epi32(chosen, 16));
}

template <DType kType, bool kStream>
void store(void* data, std::int64_t i, __m512 values) {
  if constexpr (kType == DType::kF32) {
    float* const to = static_cast<float*>(data) + i;
    kStream ? _mm512_stream_ps(to, values) : _mm512_storeu_ps(to, values);
  } else {
    auto* const to = reinterpret_cast<__m256i*>(static_cast<std::uint16_t*>(data) + i);
    kStream ? _mm256_stream_si256(to, narrow<kType>(values)) : _mm256_storeu_si256(to, narrow<kType>(values));
  }
}

template <bool kDecoupled, DType kGradient, DType kWeights, bool kStream>
void run(const Constants& c, const HostAdamArrays& a, std::int64_t begin, std::int64_t end) {
  for (std::int64_t group = begin; group < end; group += kHostAdamGroup) {
    __m512 theta[kHostAdamGroup / kLanes];
    for (int k = 0; k < kHostAdamGroup / kLanes; ++k) {
      const std::int64_t i = group + k * kLanes;
      __m512 m = _mm512_loadu_ps(a.exp_avg + i);
      __m512 v = _mm512_loadu_ps(a.exp_avg_sq + i);
      theta[k] = _mm512_loadu_ps(a.master + i);
      update<kDecoupled>(c, load<kGradient>(a.gradient, i), m, v, theta[k]);
      _mm512_storeu_ps(a.exp_avg + i, m);
      _mm512_storeu_ps(a.exp_avg_sq + i, v);
      _mm512_storeu_ps(a.master + i, theta[k]);
    }
    if constexpr (kWeights == kNoWeights) continue;
    // A whole line of them at once, so that a streaming store is one write.
    for (int k = 0; k < kHostAdamGroup / kLanes; ++k) store<kWeights, kStream>(a.weights, group + k * kLanes, theta[k]);
  }
  if constexpr (kStream) _mm_sfence();
}

}  // namespace

void host_adam_avx512(const HostAdamConstants& c, const HostAdamArrays& arrays, std::int64_t begin, std::int64_t end) {
  const Constants constants{_mm512_set1_ps(c.beta1),
                            _mm512_set1_ps(c.beta2),
                            _mm512_set1_ps(c.one_minus_beta1),
                            _mm512_set1_ps(c.one_minus_beta2),
                            _mm512_set1_ps(c.eps),
                            _mm512_set1_ps(c.weight_decay),
                            _mm512_set1_ps(-c.lr),
                            _mm512_set1_ps(c.bias_correction1),
                            _mm512_set1_ps(c.bias_correction2_sqrt),
                            _mm512_set1_ps(c.gradient_multiplier)};
  select_host_adam(c, arrays, [&]<bool kDecoupled, DType kGradient, DType kWeights, bool kStream>() {
    run<kDecoupled, kGradient, kWeights, kStream>(constants, arrays, begin, end);
  });
}

}  // namespace llama_zero::cpu

#endif
