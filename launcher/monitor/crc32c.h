// CRC-32C, the checksum of TFRecord files.
#pragma once

#include <cstdint>
#include <string_view>

namespace llama_zero {

/// CRC-32C (Castagnoli): polynomial 0x1EDC6F41, reflected, initial value and final XOR 0xffffffff (RFC 3720, appendix
/// B.4).
std::uint32_t crc32c(std::string_view bytes);

/// What TFRecord stores: the sum rotated right by 15 bits plus a constant, because a sum over data that holds sums is
/// weak.
std::uint32_t masked_crc32c(std::string_view bytes);

}  // namespace llama_zero
