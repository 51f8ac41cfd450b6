// Arithmetic that the compiler can vectorise without fast-math: exp as straight-line code, sums in fixed lanes.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace llama_zero::cpu {

/// e^x within 1.07 ulp (measured over all floats), subnormal results included; exp(-inf) = 0, exp(NaN) = NaN. No branch, so
/// loops over it vectorise. Cody and Waite, "Software Manual for the Elementary Functions", 1980, chapter 6: x = n ln 2
/// + r, e^x = 2^n e^r, with the Taylor polynomial of degree 7 for |r| <= ln 2 / 2 (remainder below 2^-27 of the
/// result).
inline float exponential(float x) {
  constexpr float kLowest = -104.0F;     // e^x rounds to 0 below
  constexpr float kHighest = 89.0F;      // and to infinity above
  constexpr float kShift = 12582912.0F;  // 1.5 * 2^23: adding it rounds to an integer, which then is in the low bits
  x = x < kLowest ? kLowest : x;
  x = x > kHighest ? kHighest : x;
  const float shifted = std::fma(x, 1.44269504F, kShift);
  const float n = shifted - kShift;
  float r = std::fma(n, -0.693145752F, x);  // ln 2 in two parts, the first of 15 bits so that n times it is exact
  r = std::fma(n, -1.42860677e-6F, r);
  float p = 1.98412698e-4F;  // 1/7!
  p = std::fma(p, r, 1.38888889e-3F);
  p = std::fma(p, r, 8.33333333e-3F);
  p = std::fma(p, r, 4.16666667e-2F);
  p = std::fma(p, r, 1.66666667e-1F);
  p = std::fma(p, r, 0.5F);
  p = std::fma(p * r, r, r);  // e^r - 1
  p += 1.0F;
  // 2^n in two factors: each is a normal number even where 2^n itself is not.
  const std::int32_t exponent = std::bit_cast<std::int32_t>(shifted) - std::bit_cast<std::int32_t>(kShift);
  const std::int32_t half = exponent >> 1;
  const auto power = [](std::int32_t e) { return std::bit_cast<float>((static_cast<std::uint32_t>(e) + 127U) << 23U); };
  return p * power(half) * power(exponent - half);
}

inline double exponential(double x) { return std::exp(x); }

/// 1 / (1 + e^-x).
template <typename C>
C sigmoid(C x) {
  return C(1) / (C(1) + exponential(-x));
}

/// 32 bytes of C, added or multiplied lane by lane; the compiler makes one register of it or, without AVX, several.
template <typename C>
struct Lanes {
  static constexpr std::int64_t kCount = 32 / sizeof(C);
  typedef C Vector __attribute__((vector_size(32)));
  Vector value = {};

  void load(const C* from) { std::memcpy(&value, from, sizeof(value)); }
};

/// Combines f(accumulator, i) over i in [0, count) in a fixed order: 4 vectors of lanes, then the lanes pairwise, then
/// the rest one by one.
namespace detail {
template <typename C>
C add_lanes(const Lanes<C> (&parts)[4]) {
  const auto total = (parts[0].value + parts[1].value) + (parts[2].value + parts[3].value);
  C lanes[Lanes<C>::kCount];
  std::memcpy(lanes, &total, sizeof(lanes));
  for (std::int64_t width = Lanes<C>::kCount / 2; width > 0; width /= 2) {
    for (std::int64_t l = 0; l < width; ++l) lanes[l] += lanes[l + width];
  }
  return lanes[0];
}
}  // namespace detail

/// Sum of x[0..count).
template <typename C>
C sum(const C* x, std::int64_t count) {
  constexpr std::int64_t kStep = 4 * Lanes<C>::kCount;
  Lanes<C> parts[4];
  std::int64_t i = 0;
  for (; i + kStep <= count; i += kStep) {
    for (int p = 0; p < 4; ++p) {
      Lanes<C> a;
      a.load(x + i + p * Lanes<C>::kCount);
      parts[p].value += a.value;
    }
  }
  C total = detail::add_lanes(parts);
  for (; i < count; ++i) total += x[i];
  return total;
}

/// Sum of x[i] * y[i].
template <typename C>
C dot(const C* x, const C* y, std::int64_t count) {
  constexpr std::int64_t kStep = 4 * Lanes<C>::kCount;
  Lanes<C> parts[4];
  std::int64_t i = 0;
  for (; i + kStep <= count; i += kStep) {
    for (int p = 0; p < 4; ++p) {
      Lanes<C> a;
      Lanes<C> b;
      a.load(x + i + p * Lanes<C>::kCount);
      b.load(y + i + p * Lanes<C>::kCount);
      parts[p].value += a.value * b.value;
    }
  }
  C total = detail::add_lanes(parts);
  for (; i < count; ++i) total += x[i] * y[i];
  return total;
}

/// Largest of x[0..count) and `start`; NaN is passed over.
template <typename C>
C maximum(const C* x, std::int64_t count, C start) {
  constexpr std::int64_t kStep = 2 * Lanes<C>::kCount;
  C lanes[kStep];
  for (std::int64_t l = 0; l < kStep; ++l) lanes[l] = start;
  std::int64_t i = 0;
  for (; i + kStep <= count; i += kStep) {
#pragma omp simd
    for (std::int64_t l = 0; l < kStep; ++l) lanes[l] = x[i + l] > lanes[l] ? x[i + l] : lanes[l];
  }
  C result = start;
  for (std::int64_t l = 0; l < kStep; ++l) result = lanes[l] > result ? lanes[l] : result;
  for (; i < count; ++i) result = x[i] > result ? x[i] : result;
  return result;
}

}  // namespace llama_zero::cpu
