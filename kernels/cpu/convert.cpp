#include "kernels/cpu/convert.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <type_traits>

#if defined(__AVX2__) && defined(__F16C__)
#include <immintrin.h>
#define LLAMA_ZERO_AVX2 1
#else
#define LLAMA_ZERO_AVX2 0
#endif

namespace llama_zero::cpu {

namespace {

#if LLAMA_ZERO_AVX2
__m256 widen(const Half* in) { return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(in))); }

__m256 widen(const BFloat16* in) {
  const __m256i bits = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(in)));
  return _mm256_castsi256_ps(_mm256_slli_epi32(bits, 16));
}

void narrow(__m256 values, Half* out) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm256_cvtps_ph(values, _MM_FROUND_TO_NEAREST_INT));
}

void narrow(__m256 values, BFloat16* out) {
  const __m256i bits = _mm256_castps_si256(values);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
  const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
  const __m256i is_nan = _mm256_castps_si256(_mm256_cmp_ps(values, values, _CMP_UNORD_Q));
  const __m256i upper = _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, is_nan), 16);
  const __m128i packed = _mm_packus_epi32(_mm256_castsi256_si128(upper), _mm256_extracti128_si256(upper, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), packed);
}
#endif

template <typename S>
void widen_all(const S* in, std::int64_t count, float* out) {
  std::int64_t i = 0;
#if LLAMA_ZERO_AVX2
  for (; i + 8 <= count; i += 8) _mm256_storeu_ps(out + i, widen(in + i));
#endif
  for (; i < count; ++i) out[i] = static_cast<float>(in[i]);
}

template <typename S>
void narrow_all(const float* in, std::int64_t count, S* out) {
  std::int64_t i = 0;
#if LLAMA_ZERO_AVX2
  for (; i + 8 <= count; i += 8) narrow(_mm256_loadu_ps(in + i), out + i);
#endif
  for (; i < count; ++i) out[i] = S(in[i]);
}

template <typename S>
constexpr bool kIs16Bit = std::is_same_v<S, Half> || std::is_same_v<S, BFloat16>;

template <typename S, typename C>
void convert_in(const S* in, std::int64_t count, C* out) {
  if constexpr (std::is_same_v<S, C>) {
    std::memmove(out, in, static_cast<std::size_t>(count) * sizeof(C));
  } else if constexpr (kIs16Bit<S> && std::is_same_v<C, float>) {
    widen_all(in, count, out);
  } else if constexpr (kIs16Bit<S>) {
    for (std::int64_t i = 0; i < count; ++i) out[i] = static_cast<C>(static_cast<float>(in[i]));
  } else {
    for (std::int64_t i = 0; i < count; ++i) out[i] = static_cast<C>(in[i]);
  }
}

template <typename S, typename C>
void convert_out(const C* in, std::int64_t count, S* out) {
  if constexpr (std::is_same_v<S, C>) {
    std::memmove(out, in, static_cast<std::size_t>(count) * sizeof(C));
  } else if constexpr (kIs16Bit<S> && std::is_same_v<C, float>) {
    narrow_all(in, count, out);
  } else if constexpr (kIs16Bit<S>) {
    for (std::int64_t i = 0; i < count; ++i) out[i] = S(round_to_odd(in[i]));
  } else {
    for (std::int64_t i = 0; i < count; ++i) out[i] = static_cast<S>(in[i]);
  }
}

/// Calls f with the memory of a floating view as a pointer of its storage type.
template <typename Byte, typename F>
void with_storage(Byte* data, DType dtype, const F& f) {
  const auto as = [&]<typename S>(S) {
    f(reinterpret_cast<std::conditional_t<std::is_const_v<Byte>, const S, S>*>(data));
  };
  switch (dtype) {
    case DType::kF32:
      return as(float{});
    case DType::kF16:
      return as(Half{});
    case DType::kBF16:
      return as(BFloat16{});
    case DType::kF64:
      return as(double{});
    case DType::kI32:
    case DType::kU8:
      break;
  }
  fail("{} is not a floating-point storage type", name_of(dtype));
}

}  // namespace

void to_float(const Half* in, std::int64_t count, float* out) { widen_all(in, count, out); }
void to_float(const BFloat16* in, std::int64_t count, float* out) { widen_all(in, count, out); }
void from_float(const float* in, std::int64_t count, Half* out) { narrow_all(in, count, out); }
void from_float(const float* in, std::int64_t count, BFloat16* out) { narrow_all(in, count, out); }

float round_to_odd(double value) {
  const auto nearest = static_cast<float>(value);
  if (std::isnan(value) || static_cast<double>(nearest) == value) return nearest;
  const bool too_large = std::fabs(static_cast<double>(nearest)) > std::fabs(value);
  const auto bits = std::bit_cast<std::uint32_t>(nearest);
  return std::bit_cast<float>((too_large ? bits - 1 : bits) | 1U);
}

template <typename C>
void load(const ConstView& view, std::int64_t offset, std::int64_t count, C* out) {
  with_storage(view.raw(), view.dtype(), [&](const auto* data) { convert_in(data + offset, count, out); });
}

template <typename C>
void store(const View& view, std::int64_t offset, std::int64_t count, const C* in) {
  with_storage(view.raw(), view.dtype(), [&](auto* data) { convert_out(in, count, data + offset); });
}

template <typename C>
void load_rows(const ConstView& view, std::int64_t offset, std::int64_t stride, std::int64_t rows, std::int64_t count,
               C* out) {
  with_storage(view.raw(), view.dtype(), [&](const auto* data) {
    for (std::int64_t r = 0; r < rows; ++r) convert_in(data + offset + r * stride, count, out + r * count);
  });
}

template <typename C>
void store_rows(const View& view, std::int64_t offset, std::int64_t stride, std::int64_t rows, std::int64_t count,
                const C* in) {
  with_storage(view.raw(), view.dtype(), [&](auto* data) {
    for (std::int64_t r = 0; r < rows; ++r) convert_out(in + r * count, count, data + offset + r * stride);
  });
}

template void load(const ConstView&, std::int64_t, std::int64_t, float*);
template void load(const ConstView&, std::int64_t, std::int64_t, double*);
template void store(const View&, std::int64_t, std::int64_t, const float*);
template void store(const View&, std::int64_t, std::int64_t, const double*);
template void load_rows(const ConstView&, std::int64_t, std::int64_t, std::int64_t, std::int64_t, float*);
template void load_rows(const ConstView&, std::int64_t, std::int64_t, std::int64_t, std::int64_t, double*);
template void store_rows(const View&, std::int64_t, std::int64_t, std::int64_t, std::int64_t, const float*);
template void store_rows(const View&, std::int64_t, std::int64_t, std::int64_t, std::int64_t, const double*);

}  // namespace llama_zero::cpu
