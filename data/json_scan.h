// The little JSON scanning that must come before a parser: where a value ends, and where UTF-8 breaks.
#pragma once

#include <cstddef>
#include <string_view>

namespace llama_zero {

enum class JsonScanStatus {
  kClosed,            ///< `end` is one past the closing brace
  kUnclosed,          ///< the text ends first
  kControlCharacter,  ///< `end` is a raw control character inside a string, which JSON forbids: a quote is probably
                      ///< missing
};

struct JsonScan {
  JsonScanStatus status = JsonScanStatus::kUnclosed;
  std::size_t end = 0;
};

/// Follows braces, brackets and strings from text[begin], an opening brace, to the matching end. Checks nothing else.
JsonScan scan_json_object(std::string_view text, std::size_t begin);

/// Offset of the first byte that is not part of well-formed UTF-8 (Unicode 15, table 3-7); npos when all is.
std::size_t find_invalid_utf8(std::string_view text);

}  // namespace llama_zero
