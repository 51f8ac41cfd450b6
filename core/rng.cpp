#include "core/rng.h"

#include <cmath>
#include <numbers>

namespace llama_zero {
namespace {

constexpr std::uint32_t kMultiplier0 = 0xD2511F53U;
constexpr std::uint32_t kMultiplier1 = 0xCD9E8D57U;
constexpr std::uint32_t kWeyl0 = 0x9E3779B9U;
constexpr std::uint32_t kWeyl1 = 0xBB67AE85U;
constexpr int kRounds = 10;
__extension__ using Uint128 = unsigned __int128;

double to_unit(std::uint64_t bits) { return static_cast<double>(bits >> 11U) * 0x1.0p-53; }

std::array<std::uint64_t, 2> block(std::uint64_t seed, std::uint64_t stream, std::uint64_t index) {
  const auto words = philox4x32({static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32U),
                                 static_cast<std::uint32_t>(stream), static_cast<std::uint32_t>(stream >> 32U)},
                                {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32U)});
  return {(std::uint64_t{words[1]} << 32U) | words[0], (std::uint64_t{words[3]} << 32U) | words[2]};
}

}  // namespace

std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < kRounds; ++round) {
    const std::uint64_t product0 = std::uint64_t{kMultiplier0} * counter[0];
    const std::uint64_t product1 = std::uint64_t{kMultiplier1} * counter[2];
    counter = {static_cast<std::uint32_t>(product1 >> 32U) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(product1),
               static_cast<std::uint32_t>(product0 >> 32U) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(product0)};
    key[0] += kWeyl0;
    key[1] += kWeyl1;
  }
  return counter;
}

std::uint64_t CounterRng::bits(std::uint64_t index) const { return block(seed_, stream_, index)[0]; }

double CounterRng::uniform(std::uint64_t index) const { return to_unit(bits(index)); }

std::uint64_t CounterRng::below(std::uint64_t index, std::uint64_t bound) const {
  return static_cast<std::uint64_t>((static_cast<Uint128>(bits(index)) * bound) >> 64U);
}

double CounterRng::normal(std::uint64_t index) const {
  const auto words = block(seed_, stream_, index);
  const double radius = std::sqrt(-2.0 * std::log(1.0 - to_unit(words[0])));
  return radius * std::cos(2.0 * std::numbers::pi * to_unit(words[1]));
}

std::uint64_t stream_id(const char* name) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  for (; *name != '\0'; ++name) hash = (hash ^ static_cast<unsigned char>(*name)) * 0x100000001b3ULL;
  return hash;
}

}  // namespace llama_zero
