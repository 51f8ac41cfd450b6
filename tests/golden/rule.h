// The integer hashes from which scripts/make_golden.py makes weights and tokens, to the bit: fixtures need not store
// them.
#pragma once

#include <cmath>
#include <cstdint>
#include <string_view>

namespace llama_zero::test {

/// FNV-1a of the name, then SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014).
class HashRule {
 public:
  explicit HashRule(std::string_view name) {
    for (const char c : name) base_ = (base_ ^ static_cast<unsigned char>(c)) * 0x100000001B3U;
  }

  std::uint64_t hash(std::uint64_t index) const {
    std::uint64_t z = base_ + (index + 1) * 0x9E3779B97F4A7C15U;
    z = (z ^ (z >> 30U)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27U)) * 0x94D049BB133111EBU;
    return z ^ (z >> 31U);
  }

  /// Of a matrix: uniform multiples of 2^-25 in [-1/4, 1/4).
  float weight(std::uint64_t index) const { return static_cast<float>(steps(index) / 33554432.0); }
  /// Of a norm: the same around 1, in steps of 2^-23.
  float norm_weight(std::uint64_t index) const {
    return static_cast<float>(1.0 + std::nearbyint(steps(index) / 4.0) / 8388608.0);
  }
  std::int32_t token(std::uint64_t index, std::int64_t vocab) const {
    return static_cast<std::int32_t>(hash(index) % static_cast<std::uint64_t>(vocab));
  }

 private:
  double steps(std::uint64_t index) const { return static_cast<double>(hash(index) >> 40U) - 8388608.0; }

  std::uint64_t base_ = 0xCBF29CE484222325U;
};

}  // namespace llama_zero::test
