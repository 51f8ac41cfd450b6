#include "data/stream_hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace llama_zero {

struct StreamHash::State {
  XXH3_state_t xxh3;
};

StreamHash::StreamHash() : state_(std::make_unique<State>()) { XXH3_64bits_reset(&state_->xxh3); }
StreamHash::~StreamHash() = default;

void StreamHash::update(std::span<const std::byte> bytes) {
  XXH3_64bits_update(&state_->xxh3, bytes.data(), bytes.size());
}

std::uint64_t StreamHash::finish() {
  const std::uint64_t digest = XXH3_64bits_digest(&state_->xxh3);
  XXH3_64bits_reset(&state_->xxh3);
  return digest;
}

}  // namespace llama_zero
