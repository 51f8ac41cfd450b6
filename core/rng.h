// Counter-based random numbers: the value depends on (seed, stream, index) alone, never on who asks or in what order.
//
// Philox4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011, section 3.3.
#pragma once

#include <array>
#include <cstdint>

namespace llama_zero {

/// Four 32-bit words for one 128-bit counter and 64-bit key.
std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key);

/// Random access into the stream `stream` of `seed`.
class CounterRng {
 public:
  CounterRng(std::uint64_t seed, std::uint64_t stream) : seed_(seed), stream_(stream) {}

  /// Uniform 64 bits at `index`.
  std::uint64_t bits(std::uint64_t index) const;
  /// Uniform in [0, 1), a multiple of 2^-53.
  double uniform(std::uint64_t index) const;
  /// Uniform integer in [0, bound), bound > 0, by the multiply-high method (bias below bound / 2^64).
  std::uint64_t below(std::uint64_t index, std::uint64_t bound) const;
  /// Standard normal at `index` (Box-Muller in double on the two halves of one Philox block).
  double normal(std::uint64_t index) const;

 private:
  std::uint64_t seed_;
  std::uint64_t stream_;
};

/// 64-bit hash of a name, to key a CounterRng stream by it (FNV-1a, the same on every platform).
std::uint64_t stream_id(const char* name);

}  // namespace llama_zero
