// Storage types of tensors and the 16-bit floating-point formats.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace llama_zero {

/// Element type of a buffer. kF64 exists for the gradient checks of the CPU reference only.
enum class DType : std::uint8_t { kF32, kF16, kBF16, kF64, kI32, kU8 };

/// Bytes of one element.
constexpr std::size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::kF16:
    case DType::kBF16: return 2;
    case DType::kF32:
    case DType::kI32: return 4;
    case DType::kF64: return 8;
    case DType::kU8: return 1;
  }
  return 0;
}

/// "fp32", "fp16", "bf16", "fp64", "int32", "uint8": the words of the config and of messages.
std::string_view name_of(DType dtype);

constexpr bool is_floating(DType dtype) { return dtype != DType::kI32 && dtype != DType::kU8; }

/// The type in which statistics of a tensor of `storage` are kept (rstd, log-sum-exp, losses): fp64 for fp64, else fp32.
constexpr DType stat_dtype(DType storage) { return storage == DType::kF64 ? DType::kF64 : DType::kF32; }

/// Distance from 1 to the next number of the format: 2^-23, 2^-10, 2^-7, 2^-52.
double epsilon_of(DType dtype);

/// IEEE 754 binary16 as bits. Conversions round to nearest even, keep subnormals, overflow to infinity.
struct Half {
  std::uint16_t bits = 0;
  Half() = default;
  explicit Half(float value);
  explicit operator float() const;
};

/// bfloat16 as bits: the upper half of a binary32, rounded to nearest even; NaN stays NaN.
struct BFloat16 {
  std::uint16_t bits = 0;
  BFloat16() = default;
  explicit BFloat16(float value) {
    const auto u = std::bit_cast<std::uint32_t>(value);
    const bool is_nan = (u & 0x7fffffffU) > 0x7f800000U;
    bits = static_cast<std::uint16_t>(is_nan ? (u >> 16U) | 0x40U : (u + 0x7fffU + ((u >> 16U) & 1U)) >> 16U);
  }
  explicit operator float() const { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16U); }
};

template <typename T>
struct DTypeOf;
template <>
struct DTypeOf<float> { static constexpr DType value = DType::kF32; };
template <>
struct DTypeOf<double> { static constexpr DType value = DType::kF64; };
template <>
struct DTypeOf<Half> { static constexpr DType value = DType::kF16; };
template <>
struct DTypeOf<BFloat16> { static constexpr DType value = DType::kBF16; };
template <>
struct DTypeOf<std::int32_t> { static constexpr DType value = DType::kI32; };
template <>
struct DTypeOf<std::uint8_t> { static constexpr DType value = DType::kU8; };

}  // namespace llama_zero
