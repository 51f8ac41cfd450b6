// splitmix64 (Steele, Lea, Flood 2014): a counter with a mixing function, so a stream is fixed by its seed on every
// platform. The standard distributions are avoided because their results differ between standard libraries.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace llama_zero::sample {

class Rng {
 public:
  explicit Rng(std::uint64_t seed) : state_(seed) {}

  // A stream of its own for each named part: editing one family leaves the rows of the others as they were.
  Rng(std::uint64_t seed, std::string_view stream) : state_(seed) {
    for (const char c : stream) {
      state_ = next() ^ static_cast<unsigned char>(c);
    }
  }

  std::uint64_t next() {
    state_ += 0x9e3779b97f4a7c15ULL;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }

  // In [0, n), n > 0. The bias of the modulo is below n / 2^64.
  std::size_t below(std::size_t n) { return static_cast<std::size_t>(next() % n); }

  // In [low, high], both included.
  int between(int low, int high) { return low + static_cast<int>(below(static_cast<std::size_t>(high - low + 1))); }

  template <typename T>
  void shuffle(std::vector<T>& items) {
    for (std::size_t i = items.size(); i > 1; --i) {
      std::swap(items[i - 1], items[below(i)]);
    }
  }

 private:
  std::uint64_t state_;
};

}  // namespace llama_zero::sample
