// A JSON value as the config reader keeps it: small, ordered, and every value knows where it was written.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace llama_zero {

/// One value of a config. Objects keep the order of the file; their keys are unique.
class JsonValue {
 public:
  struct Member;
  using Array = std::vector<JsonValue>;
  using Object = std::vector<Member>;
  using Data = std::variant<std::nullptr_t, bool, std::int64_t, double, std::string, Array, Object>;

  Data data;         ///< null at first
  int line = 0;      ///< 1-based line of the file; 0: not from a file
  std::string flag;  ///< "--set", "--model", ...: given on the command line, else empty

  JsonValue();
  explicit JsonValue(Data value);

  bool is_null() const { return std::holds_alternative<std::nullptr_t>(data); }
  bool is_string() const { return std::holds_alternative<std::string>(data); }
  bool is_object() const { return std::holds_alternative<Object>(data); }
  bool is_array() const { return std::holds_alternative<Array>(data); }
  const bool* as_bool() const { return std::get_if<bool>(&data); }
  const std::int64_t* as_int() const { return std::get_if<std::int64_t>(&data); }
  const double* as_double() const { return std::get_if<double>(&data); }
  const std::string* as_string() const { return std::get_if<std::string>(&data); }
  const Array* as_array() const { return std::get_if<Array>(&data); }
  const Object* as_object() const { return std::get_if<Object>(&data); }
  Object* as_object() { return std::get_if<Object>(&data); }

  /// The member of an object, or nullptr (also when this is no object).
  const JsonValue* find(std::string_view key) const;
  JsonValue* find(std::string_view key);

  /// "null", "a bool", "an integer", "a number", "a string", "a list", "an object": for messages.
  std::string_view type_name() const;
};

struct JsonValue::Member {
  std::string key;
  JsonValue value;
};

// Here, where Member is complete: clang looks into Data as soon as a constructor's body is known.
inline JsonValue::JsonValue() = default;
inline JsonValue::JsonValue(Data value) : data(std::move(value)) {}

}  // namespace llama_zero
