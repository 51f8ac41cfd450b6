#include "data/json_scan.h"

#include <array>

namespace llama_zero {
namespace {

enum CharacterClass : unsigned char { kPlain, kOpen, kClose, kQuote };

constexpr std::array<unsigned char, 256> make_classes() {
  std::array<unsigned char, 256> classes{};
  classes['{'] = classes['['] = kOpen;
  classes['}'] = classes[']'] = kClose;
  classes['"'] = kQuote;
  return classes;
}

constexpr auto kClasses = make_classes();

unsigned char byte_at(std::string_view text, std::size_t at) { return static_cast<unsigned char>(text[at]); }

/// `at` is one past the opening quote. Closed: `end` is one past the closing quote.
JsonScan scan_string(std::string_view text, std::size_t at) {
  while (at < text.size()) {
    const unsigned char character = byte_at(text, at);
    if (character == '"') return {JsonScanStatus::kClosed, at + 1};
    if (character < 0x20) return {JsonScanStatus::kControlCharacter, at};
    at += character == '\\' ? 2 : 1;
  }
  return {JsonScanStatus::kUnclosed, text.size()};
}

/// Length of the well-formed sequence at `at`; 0 when there is none.
std::size_t utf8_sequence_length(std::string_view text, std::size_t at) {
  const unsigned char lead = byte_at(text, at);
  if (lead < 0x80) return 1;
  if (lead < 0xC2 || lead > 0xF4) return 0;
  const std::size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  if (at + length > text.size()) return 0;
  const unsigned char second = byte_at(text, at + 1);
  // The second byte's range shuts out overlong forms, surrogates and code points beyond U+10FFFF.
  const unsigned char lowest = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const unsigned char highest = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  if (second < lowest || second > highest) return 0;
  for (std::size_t i = 2; i < length; ++i) {
    if ((byte_at(text, at + i) & 0xC0U) != 0x80) return 0;
  }
  return length;
}

}  // namespace

JsonScan scan_json_object(std::string_view text, std::size_t begin) {
  std::size_t depth = 0;
  std::size_t at = begin;
  while (at < text.size()) {
    switch (kClasses[byte_at(text, at)]) {
      case kQuote: {
        const JsonScan string = scan_string(text, at + 1);
        if (string.status != JsonScanStatus::kClosed) return string;
        at = string.end;
        break;
      }
      case kOpen:
        ++depth;
        ++at;
        break;
      case kClose:
        ++at;
        if (--depth == 0) return {JsonScanStatus::kClosed, at};
        break;
      default:
        ++at;
    }
  }
  return {JsonScanStatus::kUnclosed, text.size()};
}

std::size_t find_invalid_utf8(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t length = utf8_sequence_length(text, at);
    if (length == 0) return at;
    at += length;
  }
  return std::string_view::npos;
}

}  // namespace llama_zero
