// XXH3-64 of bytes that come piece by piece; equals hash_bytes() of the whole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace llama_zero {

class StreamHash {
 public:
  StreamHash();
  ~StreamHash();
  StreamHash(const StreamHash&) = delete;
  StreamHash& operator=(const StreamHash&) = delete;

  void update(std::span<const std::byte> bytes);
  /// Of all bytes since construction or the last call; starts anew.
  std::uint64_t finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace llama_zero
