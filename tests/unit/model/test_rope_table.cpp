#include <doctest/doctest.h>

#include <cmath>

#include "core/device.h"
#include "model/rope_table.h"
#include "tests/support/model_fixture.h"

using namespace llama_zero;

namespace {

constexpr double kPi = 3.14159265358979323846;
// Rounding of exponent, power, quotient and the scaling steps, one fp32 half-step each, and the exponent's own once
// more as log(theta) * exponent <= 13.1 of it.
constexpr double kRelative = 20 * 6e-8;

LlamaConfig config_of(RopeScaling scaling, double theta = 500000.0) {
  LlamaConfig config = test::small_config();
  config.head_dim = 64;
  config.rope_theta = theta;
  config.rope_scaling = scaling;
  return config;
}

double exact(const LlamaConfig& config, std::size_t i) {
  return std::pow(config.rope_theta, -2.0 * static_cast<double>(i) / static_cast<double>(config.head_dim));
}

}  // namespace

TEST_CASE("frequencies are powers of the base, and linear scaling divides them") {
  for (const double factor : {1.0, 2.0, 3.7}) {
    const LlamaConfig config = config_of({RopeScaling::Type::kLinear, factor});
    const std::vector<float> frequencies = rope_frequencies(config);
    REQUIRE(frequencies.size() == 32);
    for (std::size_t i = 0; i < frequencies.size(); ++i) {
      CHECK(static_cast<double>(frequencies[i]) == doctest::Approx(exact(config, i) / factor).epsilon(kRelative));
    }
  }
}

TEST_CASE("llama3 scaling keeps short wavelengths, divides long ones and blends between") {
  const RopeScaling scaling{RopeScaling::Type::kLlama3, 8.0, 1.0, 4.0, 8192};
  const LlamaConfig config = config_of(scaling);
  const std::vector<float> frequencies = rope_frequencies(config);
  int kept = 0;
  int divided = 0;
  int blended = 0;
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    const double plain = exact(config, i);
    const double wavelength = 2 * kPi / plain;
    double expected = plain;
    if (wavelength > 8192) {
      expected = plain / 8;
      ++divided;
    } else if (wavelength >= 2048) {
      const double blend = (8192 / wavelength - 1) / 3;
      expected = (1 - blend) * plain / 8 + blend * plain;
      ++blended;
    } else {
      ++kept;
    }
    CHECK(static_cast<double>(frequencies[i]) == doctest::Approx(expected).epsilon(8 * kRelative));
  }
  CHECK(kept > 0);
  CHECK(divided > 0);
  CHECK(blended > 0);
}

TEST_CASE("the table holds the cosine and sine of the fp32 angle") {
  const LlamaConfig config = config_of({}, 10000.0);
  const auto device = make_cpu_device();
  Arena arena(*device, std::size_t{4} << 20U, "test");
  constexpr std::int64_t kPositions = 4096;
  const View table = make_rope_table(config, DType::kF32, kPositions, arena);
  const std::vector<float> frequencies = rope_frequencies(config);
  const float* values = table.as<float>();
  for (const std::int64_t position : {std::int64_t{0}, std::int64_t{1}, std::int64_t{777}, kPositions - 1}) {
    for (std::size_t i = 0; i < frequencies.size(); ++i) {
      const float angle = static_cast<float>(position) * frequencies[i];
      const float* pair = values + position * config.head_dim + 2 * static_cast<std::int64_t>(i);
      CHECK(pair[0] == static_cast<float>(std::cos(static_cast<double>(angle))));
      CHECK(pair[1] == static_cast<float>(std::sin(static_cast<double>(angle))));
    }
  }
}
