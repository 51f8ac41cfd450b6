#include "launcher/monitor/crc32c.h"

#include <array>
#include <bit>
#include <cstddef>

namespace llama_zero {
namespace {

constexpr std::uint32_t kReflectedPolynomial = 0x82f63b78U;  // 0x1EDC6F41, bits reversed
constexpr std::uint32_t kMaskDelta = 0xa282ead8U;

constexpr std::array<std::uint32_t, 256> make_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t byte = 0; byte < table.size(); ++byte) {
    std::uint32_t sum = byte;
    for (int bit = 0; bit < 8; ++bit) sum = (sum >> 1U) ^ ((sum & 1U) != 0 ? kReflectedPolynomial : 0U);
    table[byte] = sum;
  }
  return table;
}

constexpr std::array<std::uint32_t, 256> kTable = make_table();

}  // namespace

std::uint32_t crc32c(std::string_view bytes) {
  std::uint32_t sum = 0xffffffffU;
  for (const char c : bytes) sum = (sum >> 8U) ^ kTable[(sum ^ static_cast<unsigned char>(c)) & 0xffU];
  return ~sum;
}

std::uint32_t masked_crc32c(std::string_view bytes) { return std::rotr(crc32c(bytes), 15) + kMaskDelta; }

}  // namespace llama_zero
