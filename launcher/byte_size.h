// Sizes of files as people write them.
#pragma once

#include <cstdint>
#include <string_view>

namespace llama_zero {

/// Bytes of "5GB", "500MB", "2GiB" or "1000000" (K, M, G, T: powers of 1000, with an i: of 1024; fractions may stand
/// before a unit). `key` names the value in the Error for anything else, and for less than one byte.
std::int64_t parse_byte_size(std::string_view text, std::string_view key);

}  // namespace llama_zero
