#include <bit>
#include <cmath>
#include <limits>

#include "kernels/cpu/convert.h"
#include "kernels/cpu/vector_math.h"
#include "tests/unit/kernels/support.h"

namespace llama_zero {
namespace {

/// The value of a binary16 from its fields, independent of any conversion code.
double half_value(std::uint32_t bits) {
  const double sign = (bits & 0x8000U) != 0 ? -1.0 : 1.0;
  const int exponent = static_cast<int>((bits >> 10U) & 0x1fU);
  const auto fraction = static_cast<double>(bits & 0x3ffU);
  if (exponent == 31) return fraction == 0 ? sign * INFINITY : NAN;
  if (exponent == 0) return sign * std::ldexp(fraction, -24);
  return sign * std::ldexp(1024.0 + fraction, exponent - 25);
}

template <typename S>
std::vector<S> all_bit_patterns() {
  std::vector<S> all(65536);
  for (std::size_t i = 0; i < all.size(); ++i) all[i].bits = static_cast<std::uint16_t>(i);
  return all;
}

TEST_CASE("bulk conversion reads all 65,536 halves exactly") {
  const auto halves = all_bit_patterns<Half>();
  std::vector<float> floats(halves.size());
  cpu::to_float(halves.data(), 65536, floats.data());
  int wrong = 0;
  for (std::uint32_t i = 0; i < 65536; ++i) {
    const double want = half_value(i);
    const bool same = std::isnan(want)
                          ? std::isnan(floats[i])
                          : static_cast<double>(floats[i]) == want && std::signbit(floats[i]) == (i >= 32768);
    if (!same) ++wrong;
  }
  CHECK(wrong == 0);
}

TEST_CASE("bulk conversion gives every 16-bit number back, vector part and tail alike") {
  const auto round_trip = [](auto sample) {
    using S = decltype(sample);
    const auto all = all_bit_patterns<S>();
    std::vector<float> floats(all.size());
    std::vector<S> back(all.size());
    int wrong = 0;
    for (const std::int64_t step : {65536, 7}) {  // 7 numbers at a time never reach the vector loop
      for (std::int64_t i = 0; i < 65536; i += step) {
        const std::int64_t count = std::min<std::int64_t>(step, 65536 - i);
        cpu::to_float(all.data() + i, count, floats.data() + i);
        cpu::from_float(floats.data() + i, count, back.data() + i);
      }
      for (std::size_t i = 0; i < all.size(); ++i) {
        if (std::isnan(floats[i]) ? !std::isnan(static_cast<float>(back[i])) : back[i].bits != all[i].bits) ++wrong;
      }
    }
    CHECK(wrong == 0);
  };
  round_trip(Half{});
  round_trip(BFloat16{});
}

/// Around every pair of neighbours: below, at and above their midpoint.
template <typename S>
void check_rounding(const std::vector<S>& ascending) {
  std::vector<float> inputs;
  std::vector<std::uint16_t> wanted;
  for (std::size_t i = 0; i + 1 < ascending.size(); ++i) {
    const auto low = static_cast<double>(static_cast<float>(ascending[i]));
    const auto high = static_cast<double>(static_cast<float>(ascending[i + 1]));
    const auto middle = static_cast<float>(0.5 * (low + high));
    const std::uint16_t even = (ascending[i].bits & 1U) == 0 ? ascending[i].bits : ascending[i + 1].bits;
    inputs.insert(inputs.end(), {std::nextafter(middle, 0.0F), middle, std::nextafter(middle, INFINITY)});
    wanted.insert(wanted.end(), {ascending[i].bits, even, ascending[i + 1].bits});
  }
  std::vector<S> rounded(inputs.size());
  cpu::from_float(inputs.data(), static_cast<std::int64_t>(inputs.size()), rounded.data());
  int wrong = 0;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    if (rounded[i].bits != wanted[i]) ++wrong;
    if (S(inputs[i]).bits != wanted[i]) ++wrong;
  }
  CHECK(wrong == 0);
}

template <typename S>
std::vector<S> non_negative_up_to(std::uint16_t last) {
  std::vector<S> values(std::size_t{last} + 1);
  for (std::size_t i = 0; i < values.size(); ++i) values[i].bits = static_cast<std::uint16_t>(i);
  return values;
}

TEST_CASE("rounding to 16 bits is to nearest, ties to even, between all neighbours") {
  check_rounding(non_negative_up_to<Half>(0x7bff));
  check_rounding(non_negative_up_to<BFloat16>(0x7f7f));
}

TEST_CASE("16-bit conversion overflows to infinity and keeps NaN") {
  const std::vector<float> inputs = {65519.9F, 65520.0F, -65520.0F, 1e30F, INFINITY, -INFINITY, NAN, 0.0F};
  std::vector<Half> halves(8);
  cpu::from_float(inputs.data(), 8, halves.data());
  CHECK(halves[0].bits == 0x7bff);
  CHECK(halves[1].bits == 0x7c00);
  CHECK(halves[2].bits == 0xfc00);
  CHECK(halves[3].bits == 0x7c00);
  CHECK(halves[4].bits == 0x7c00);
  CHECK(halves[5].bits == 0xfc00);
  CHECK(std::isnan(static_cast<float>(halves[6])));
  std::vector<float> large(8, std::numeric_limits<float>::max());
  large[1] = std::bit_cast<float>(0x7f800001U);  // a NaN whose payload is lost by truncation
  large[2] = std::bit_cast<float>(0x7fffffffU);
  std::vector<BFloat16> brains(8);
  cpu::from_float(large.data(), 8, brains.data());
  CHECK(brains[0].bits == 0x7f80);
  CHECK(std::isnan(static_cast<float>(brains[1])));
  CHECK(std::isnan(static_cast<float>(brains[2])));
}

TEST_CASE("a double is rounded to 16 bits once, not by way of a float") {
  // 1 + 2^-11 is halfway between two halves; a little more than that rounds up, but a float does not see the little.
  const double above_tie = 1.0 + std::ldexp(1.0, -11) + std::ldexp(1.0, -40);
  const double below_tie = 1.0 + 3.0 * std::ldexp(1.0, -11) - std::ldexp(1.0, -40);
  for (const double sign : {1.0, -1.0}) {
    test::Tensor t(DType::kF16, 2);
    const double values[2] = {sign * above_tie, sign * below_tie};
    cpu::store(t.view(), 0, 2, values);
    CHECK(t[0] == sign * (1.0 + std::ldexp(1.0, -10)));
    CHECK(t[1] == sign * (1.0 + std::ldexp(1.0, -10)));
  }
  CHECK(cpu::round_to_odd(0.5) == 0.5F);
  CHECK(std::isnan(cpu::round_to_odd(NAN)));
}

double ulp_error(float got, double want) {
  const int exponent = std::max(std::ilogb(want), -126);
  return std::fabs(static_cast<double>(got) - want) / std::ldexp(1.0, exponent - 23);
}

TEST_CASE("the vectorised exponential is within 1.07 ulp of exp over its whole range") {
  std::vector<float> x;
  for (std::uint32_t bits = 0; bits < 0x42d20000U; bits += 4099) {  // 0 .. 105, every magnitude, both signs
    x.push_back(std::bit_cast<float>(bits));
    x.push_back(-std::bit_cast<float>(bits));
  }
  std::vector<float> y(x.size());
#pragma omp simd
  for (std::size_t i = 0; i < x.size(); ++i) y[i] = cpu::exponential(x[i]);
  double worst = 0.0;
  int different = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double want = std::exp(static_cast<double>(x[i]));
    if (want > static_cast<double>(std::numeric_limits<float>::max())) {
      CHECK(std::isinf(y[i]));
      continue;
    }
    worst = std::max(worst, ulp_error(y[i], want));
    if (cpu::exponential(x[i]) != y[i]) ++different;
  }
  MESSAGE("exponential: worst error ", worst, " ulp over ", x.size(), " arguments");
  CHECK(worst <= 1.07);
  CHECK(different == 0);
  CHECK(cpu::exponential(-INFINITY) == 0.0F);
  CHECK(std::isinf(cpu::exponential(INFINITY)));
  CHECK(std::isnan(cpu::exponential(NAN)));
  CHECK(cpu::exponential(0.0F) == 1.0F);
}

TEST_CASE("sums, dot products and maxima take every element at any length") {
  for (const std::int64_t count : {0, 1, 7, 8, 31, 32, 33, 63, 64, 65, 200}) {
    std::vector<float> x(static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>((i * 37) % 101);
    double total = 0.0;
    double squares = 0.0;
    float largest = -1.0F;
    for (const float v : x) {
      total += static_cast<double>(v);
      squares += static_cast<double>(v) * static_cast<double>(v);
      largest = std::max(largest, v);
    }
    CAPTURE(count);
    CHECK(static_cast<double>(cpu::sum(x.data(), count)) == total);
    CHECK(static_cast<double>(cpu::dot(x.data(), x.data(), count)) == squares);
    CHECK(cpu::maximum(x.data(), count, -1.0F) == largest);
  }
}

}  // namespace
}  // namespace llama_zero
