#include <doctest/doctest.h>

#include <string>

#include "data/json_scan.h"

namespace llama_zero {

TEST_CASE("an object ends at its matching brace, whatever its strings hold") {
  const std::string text = R"(  {"a": "}]\"{", "b": [{"c": {}}], "d\\": 1} tail)";
  const JsonScan scan = scan_json_object(text, 2);
  CHECK(scan.status == JsonScanStatus::kClosed);
  CHECK(text.substr(scan.end) == " tail");
}

TEST_CASE("an object that the text cuts off is unclosed, also inside a string or an escape") {
  for (const std::string text : {"{", R"({"a": [1})", R"({"a": "b)", R"({"a": "b\)", R"({"a")"}) {
    CAPTURE(text);
    CHECK(scan_json_object(text, 0).status == JsonScanStatus::kUnclosed);
  }
}

TEST_CASE("a line break inside a string is reported where it stands") {
  const JsonScan scan = scan_json_object("{\"a\": \"b\n\"}", 0);
  CHECK(scan.status == JsonScanStatus::kControlCharacter);
  CHECK(scan.end == 8);
}

TEST_CASE("well-formed UTF-8 of every length passes") {
  CHECK(find_invalid_utf8("a\u00e9\u20ac\U0001F600\x7f") == std::string_view::npos);
  CHECK(find_invalid_utf8("\xF4\x8F\xBF\xBF\xEE\x80\x80\xC2\x80") == std::string_view::npos);
}

TEST_CASE("each kind of malformed UTF-8 is found at its first byte") {
  for (const std::string bad : {"\x80", "\xC1\x81", "\xE0\x9F\x80", "\xED\xA0\x80", "\xF0\x8F\x80\x80",
                                "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xE2\x82", "\xE2(\xAC", "\xF0\x9F\x98"}) {
    CAPTURE(bad);
    CHECK(find_invalid_utf8("ok" + bad) == 2);
  }
}

}  // namespace llama_zero
