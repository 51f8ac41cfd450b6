// Text of a file inside a one-line message.
#pragma once

#include <string>
#include <string_view>

namespace llama_zero {

/// `text` with control characters as \xNN, cut after 120 bytes, so that a message that quotes it stays one short line.
inline std::string printable(std::string_view text) {
  constexpr std::size_t kLongest = 120;
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string result;
  for (const char c : text.substr(0, kLongest)) {
    const auto code = static_cast<unsigned char>(c);
    if (code >= 0x20 && code != 0x7f) {
      result += c;
    } else {
      result += {'\\', 'x', kDigits[code >> 4U], kDigits[code & 15U]};
    }
  }
  return text.size() > kLongest ? result + "..." : result;
}

}  // namespace llama_zero
