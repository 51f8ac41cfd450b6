// Reading one JSON object of a file that may hold anything.
#pragma once

#include <simdjson.h>

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "core/error.h"
#include "model/printable.h"

namespace llama_zero {

/// Typed access to the fields of one JSON object; null counts as absent. Messages name file and field. Keys given twice
/// throw Error: readers differ on which one counts.
class JsonFields {
 public:
  JsonFields(simdjson::dom::object values, std::string origin) : values_(values), origin_(std::move(origin)) {
    const std::string_view repeated = first_repeated(values_);
    require(repeated.data() == nullptr, "{}: field '{}' is there twice", origin_, printable(repeated));
  }

  /// The first key that comes a second time; a view without data when none does.
  static std::string_view first_repeated(simdjson::dom::object values) {
    std::set<std::string_view> keys;
    for (const auto field : values) {
      if (!keys.insert(field.key).second) return field.key;
    }
    return {};
  }

  std::optional<simdjson::dom::element> find(std::string_view key) const {
    simdjson::dom::element value;
    if (values_[key].get(value) != simdjson::SUCCESS || value.is_null()) return std::nullopt;
    return value;
  }

  std::int64_t integer(std::string_view key) const {
    const auto value = find(key);
    require(value.has_value(), "{}: field '{}' is missing", origin_, key);
    return to_integer(*value, key);
  }
  std::int64_t integer(std::string_view key, std::int64_t fallback) const {
    const auto value = find(key);
    return value ? to_integer(*value, key) : fallback;
  }

  double number(std::string_view key, double fallback) const {
    const auto value = find(key);
    if (!value) return fallback;
    double result = 0.0;
    require(value->get(result) == simdjson::SUCCESS, "{}: field '{}' must be a number", origin_, key);
    return result;
  }

  bool boolean(std::string_view key, bool fallback) const {
    const auto value = find(key);
    if (!value) return fallback;
    bool result = false;
    require(value->get(result) == simdjson::SUCCESS, "{}: field '{}' must be true or false", origin_, key);
    return result;
  }

  std::string text(std::string_view key, std::string_view fallback) const {
    const auto value = find(key);
    if (!value) return std::string(fallback);
    std::string_view result;
    require(value->get(result) == simdjson::SUCCESS, "{}: field '{}' must be a string", origin_, key);
    return std::string(result);
  }

  std::int64_t to_integer(const simdjson::dom::element& value, std::string_view key) const {
    std::int64_t result = 0;
    require(value.get(result) == simdjson::SUCCESS, "{}: field '{}' must be an integer", origin_, key);
    return result;
  }

  std::optional<JsonFields> nested(std::string_view key) const {
    const auto value = find(key);
    if (!value) return std::nullopt;
    simdjson::dom::object result;
    require(value->get(result) == simdjson::SUCCESS, "{}: field '{}' must be an object", origin_, key);
    return JsonFields(result, origin_ + ": " + std::string(key));
  }

  const std::string& origin() const { return origin_; }

 private:
  simdjson::dom::object values_;
  std::string origin_;
};

}  // namespace llama_zero
