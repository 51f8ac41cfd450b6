#include "launcher/monitor/event_record.h"

#include <bit>
#include <concepts>

#include "launcher/monitor/crc32c.h"

namespace llama_zero {
namespace {

// Wire types of the protocol buffer encoding.
enum class Wire : unsigned { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

template <std::unsigned_integral T>
std::string little_endian(T value) {
  std::string bytes;
  for (unsigned shift = 0; shift < 8 * sizeof(T); shift += 8) bytes += static_cast<char>((value >> shift) & 0xffU);
  return bytes;
}

std::string varint(std::uint64_t value) {
  std::string bytes;
  while (value >= 0x80U) {
    bytes += static_cast<char>((value & 0x7fU) | 0x80U);
    value >>= 7U;
  }
  return bytes + static_cast<char>(value);
}

std::string key(unsigned field, Wire wire) { return varint((field << 3U) | static_cast<unsigned>(wire)); }

std::string double_field(unsigned field, double value) {
  return key(field, Wire::kFixed64) + little_endian(std::bit_cast<std::uint64_t>(value));
}

std::string float_field(unsigned field, float value) {
  return key(field, Wire::kFixed32) + little_endian(std::bit_cast<std::uint32_t>(value));
}

std::string integer_field(unsigned field, std::int64_t value) {
  return key(field, Wire::kVarint) + varint(static_cast<std::uint64_t>(value));
}

std::string bytes_field(unsigned field, std::string_view bytes) {
  return key(field, Wire::kBytes) + varint(bytes.size()) + std::string(bytes);
}

}  // namespace

std::string encode_file_version(double wall_time) {
  return double_field(1, wall_time) + bytes_field(3, "brain.Event:2");
}

std::string encode_session_start(double wall_time, std::int64_t step) {
  return double_field(1, wall_time) + integer_field(2, step) + bytes_field(7, integer_field(1, 1));
}

std::string encode_scalar(double wall_time, std::int64_t step, std::string_view tag, double value) {
  const std::string scalar = bytes_field(1, tag) + float_field(2, static_cast<float>(value));
  return double_field(1, wall_time) + integer_field(2, step) + bytes_field(5, bytes_field(1, scalar));
}

std::string frame_record(std::string_view bytes) {
  const std::string length = little_endian(static_cast<std::uint64_t>(bytes.size()));
  return length + little_endian(masked_crc32c(length)) + std::string(bytes) + little_endian(masked_crc32c(bytes));
}

}  // namespace llama_zero
