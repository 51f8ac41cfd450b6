#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "core/dtype.h"

using namespace llama_zero;

namespace {

Half half_from_bits(unsigned bits) {
  Half h;
  h.bits = static_cast<std::uint16_t>(bits);
  return h;
}

}  // namespace

TEST_CASE("every half survives the way to float and back") {
  for (unsigned bits = 0; bits < 0x10000U; ++bits) {
    const auto value = static_cast<float>(half_from_bits(bits));
    if (std::isnan(value)) {
      CHECK(std::isnan(static_cast<float>(Half(value))));
    } else {
      REQUIRE(Half(value).bits == bits);
    }
  }
}

TEST_CASE("half rounds ties to even, keeps subnormals and overflows to infinity") {
  CHECK(Half(1.0F + 0x1p-11F).bits == 0x3c00U);      // tie, down to even
  CHECK(Half(1.0F + 3 * 0x1p-11F).bits == 0x3c02U);  // tie, up to even
  CHECK(Half(0x1p-24F).bits == 0x0001U);             // smallest subnormal
  CHECK(Half(0x1p-25F).bits == 0x0000U);             // tie between 0 and it
  CHECK(Half(0x1.8p-25F).bits == 0x0001U);
  CHECK(Half(65519.0F).bits == 0x7bffU);  // below the midpoint to 65536
  CHECK(Half(65520.0F).bits == 0x7c00U);
  CHECK(Half(-std::numeric_limits<float>::infinity()).bits == 0xfc00U);
}

TEST_CASE("bfloat16 rounds ties to even and keeps NaN") {
  CHECK(BFloat16(1.0F + 0x1p-8F).bits == 0x3f80U);
  CHECK(BFloat16(1.0F + 3 * 0x1p-8F).bits == 0x3f82U);
  CHECK(std::isnan(static_cast<float>(BFloat16(std::numeric_limits<float>::quiet_NaN()))));
  CHECK(static_cast<float>(BFloat16(std::numeric_limits<float>::max())) == std::numeric_limits<float>::infinity());
}
