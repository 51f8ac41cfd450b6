#include "launcher/schema_coerce.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "core/error.h"
#include "launcher/json_document.h"

namespace llama_zero {
namespace {

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

/// A whole text as a number; nothing when there is anything else in it.
template <typename Number>
std::optional<Number> parse_number(std::string_view text) {
  text = trimmed(text);
  if (text.starts_with('+')) text.remove_prefix(1);
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

/// 2^63 is the first double past the integers.
std::optional<std::int64_t> integral(double number) {
  constexpr double kLimit = 9223372036854775808.0;
  if (!(number >= -kLimit && number < kLimit) || std::floor(number) != number) return std::nullopt;
  return static_cast<std::int64_t>(number);
}

std::optional<std::int64_t> to_int(const JsonValue& value, Strictness strictness) {
  if (const auto* number = value.as_int()) return *number;
  if (const auto* number = value.as_double()) return integral(*number);
  if (strictness != Strictness::kStrict) return std::nullopt;
  if (const auto* flag = value.as_bool()) return *flag ? 1 : 0;
  if (const auto* text = value.as_string()) return parse_number<std::int64_t>(*text);
  return std::nullopt;
}

std::optional<double> to_number(const JsonValue& value, Strictness strictness) {
  if (const auto* number = value.as_int()) return static_cast<double>(*number);
  if (const auto* number = value.as_double()) return *number;
  if (strictness != Strictness::kStrict) return std::nullopt;
  if (const auto* text = value.as_string()) {
    const auto number = parse_number<double>(*text);
    if (number && std::isfinite(*number)) return number;
  }
  return std::nullopt;
}

/// The words are pydantic's.
std::optional<bool> to_bool(const JsonValue& value, Strictness strictness) {
  if (const auto* flag = value.as_bool()) return *flag;
  const auto number = value.as_string() == nullptr ? to_number(value, Strictness::kLoose) : std::nullopt;
  if (number && (*number == 0.0 || *number == 1.0)) return *number == 1.0;
  const auto* text = value.as_string();
  if (text == nullptr || strictness != Strictness::kStrict) return std::nullopt;
  const std::string word = lower_case(*text);
  if (list_contains("true|1|yes|y|on|t", word)) return true;
  if (list_contains("false|0|no|n|off|f", word)) return false;
  return std::nullopt;
}

std::string_view wanted(ValueType type) {
  switch (type) {
    case ValueType::kBool:
      return "true or false";
    case ValueType::kInt:
      return "an integer";
    case ValueType::kNumber:
      return "a number";
    case ValueType::kString:
      return "a string";
    case ValueType::kList:
      return "a list";
    case ValueType::kObject:
      return "an object";
    case ValueType::kAny:
      break;
  }
  return "a value";
}

/// The typed value, or nothing when it cannot be one.
std::optional<JsonValue::Data> typed(const SchemaKey& key, const JsonValue& value, Strictness strictness) {
  const auto wrap = [](auto converted) -> std::optional<JsonValue::Data> {
    if (!converted) return std::nullopt;
    return JsonValue::Data(*converted);
  };
  switch (key.type) {
    case ValueType::kBool:
      return wrap(to_bool(value, strictness));
    case ValueType::kInt:
      return wrap(to_int(value, strictness));
    case ValueType::kNumber:
      return wrap(to_number(value, strictness));
    case ValueType::kString:
      if (!value.is_string()) return std::nullopt;
      return value.data;
    case ValueType::kList:
      if (!value.is_array()) return std::nullopt;
      return value.data;
    case ValueType::kObject:
      if (!value.is_object()) return std::nullopt;
      return value.data;
    case ValueType::kAny:
      break;
  }
  return value.data;
}

bool in_range(std::string_view range, double number) {
  const auto bound = [](std::string_view text) { return parse_number<double>(text).value(); };
  if (range.starts_with(">=")) return number >= bound(range.substr(2));
  if (range.starts_with(">")) return number > bound(range.substr(1));
  const std::size_t dots = range.find("..");
  return number >= bound(range.substr(0, dots)) && number <= bound(range.substr(dots + 2));
}

void check_number(const SchemaKey& key, const JsonValue& value, std::string_view where) {
  const auto number = to_number(value, Strictness::kLoose);
  if (!number || key.range.empty() || in_range(key.range, *number)) return;
  const bool interval = key.range.find("..") != std::string_view::npos;
  fail("{}: {} must be {}{}, not {}", where, key.path, interval ? "in " : "", key.range, to_json_text(value));
}

void check_word(const SchemaKey& key, JsonValue& value, std::string_view where) {
  if (key.range.empty()) return;
  auto& word = std::get<std::string>(value.data);
  std::string_view range = key.range;
  const bool any_case = range.starts_with('~');
  if (any_case) range.remove_prefix(1);
  const auto words = split_list(range);
  for (const std::string_view candidate : words) {
    if (word != candidate && !(any_case && lower_case(word) == lower_case(candidate))) continue;
    word = std::string(candidate);
    return;
  }
  const std::string near = closest_name(word, words);
  fail("{}: {} must be one of {}, not \"{}\"{}", where, key.path, spell_list(range), word,
       near.empty() ? "" : fmt::format("; did you mean \"{}\"?", near));
}

}  // namespace

std::string lower_case(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return out;
}

JsonValue coerce_value(const SchemaKey& key, const JsonValue& value, Strictness strictness, std::string_view where) {
  if (value.is_null()) {
    if (key.default_text == "null" || list_contains(key.accepted, "null")) return value;
    fail("{}: {} must be {}, not null", where, key.path, wanted(key.type));
  }
  auto data = typed(key, value, strictness);
  if (!data) {
    const bool quoted = value.is_string() && (key.type == ValueType::kInt || key.type == ValueType::kNumber) &&
                        parse_number<double>(*value.as_string()).has_value();
    fail("{}: {} must be {}, not {}{}", where, key.path, wanted(key.type), to_json_text(value),
         quoted ? "; leave the quotes out" : "");
  }
  JsonValue out = value;
  out.data = std::move(*data);
  if (key.type == ValueType::kInt || key.type == ValueType::kNumber) check_number(key, out, where);
  if (key.type == ValueType::kString) check_word(key, out, where);
  return out;
}

JsonValue default_value(const SchemaKey& key) {
  require(!key.default_text.starts_with('('), "{} has no default of its own: {}", key.path, key.default_text);
  return parse_json_value(key.default_text, key.path);
}

bool same_value(const JsonValue& a, const JsonValue& b) {
  const auto x = to_number(a, Strictness::kLoose);
  const auto y = to_number(b, Strictness::kLoose);
  if (x && y) return *x == *y;
  return to_json_text(a) == to_json_text(b);
}

bool is_accepted(const SchemaKey& key, const JsonValue& value) {
  if (key.accepted.empty()) return same_value(value, default_value(key));
  const auto texts = split_list(key.accepted);
  return std::any_of(texts.begin(), texts.end(),
                     [&](std::string_view text) { return same_value(value, parse_json_value(text, key.path)); });
}

}  // namespace llama_zero
