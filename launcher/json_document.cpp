#include "launcher/json_document.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "core/error.h"

namespace llama_zero {
namespace {

namespace ondemand = simdjson::ondemand;

constexpr int kMaxDepth = 64;

/// Walks the text once; knows whether it is inside a string or a comment.
class Blanker {
 public:
  Blanker(std::string& text, std::string_view name) : text_(text), name_(name) {}

  void run() {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '"') {
        skip_string();
      } else if (c == '#' || starts_with("//")) {
        blank_line_comment();
      } else if (starts_with("/*")) {
        blank_block_comment();
      } else {
        see(c);
        match_bracket(c);
        ++at_;
      }
    }
    if (!open_.empty()) fail_at(open_.back(), fmt::format("this '{}' is not closed", text_[open_.back()]));
  }

 private:
  static constexpr std::size_t kNone = std::string::npos;

  bool starts_with(std::string_view what) const { return text_.compare(at_, what.size(), what) == 0; }

  [[noreturn]] void fail_at(std::size_t offset, std::string_view what) const {
    fail("{}:{}: {}", name_, line_and_column(text_, offset), what);
  }

  /// A comma is a trailing one when a value stands before it and a closing bracket is the next thing after it.
  void see(char c) {
    if (c == ' ' || c == '\t' || c == '\n' || c == '\r') return;
    if ((c == '}' || c == ']') && comma_ != kNone) text_[comma_] = ' ';
    const bool after_value = last_ != '\0' && last_ != '{' && last_ != '[' && last_ != ',' && last_ != ':';
    comma_ = c == ',' && after_value ? at_ : kNone;
    last_ = c;
  }

  void match_bracket(char c) {
    if (c == '{' || c == '[') open_.push_back(at_);
    if (c != '}' && c != ']') return;
    if (open_.empty()) fail_at(at_, fmt::format("this '{}' closes nothing", c));
    const char opening = text_[open_.back()];
    if (opening != (c == '}' ? '{' : '[')) {
      fail_at(at_, fmt::format("this '{}' cannot close the '{}' of line {}", c, opening, line_at(open_.back())));
    }
    open_.pop_back();
  }

  std::ptrdiff_t line_at(std::size_t offset) const {
    return 1 + std::count(text_.begin(), text_.begin() + static_cast<std::ptrdiff_t>(offset), '\n');
  }

  void skip_string() {
    see('"');
    const std::size_t begin = at_++;
    while (at_ < text_.size() && text_[at_] != '"') {
      if (text_[at_] == '\n') fail_at(begin, "this string does not end on its line");
      at_ += text_[at_] == '\\' ? 2 : 1;
    }
    if (at_ >= text_.size()) fail_at(begin, "this string does not end");
    ++at_;
  }

  void blank_line_comment() {
    while (at_ < text_.size() && text_[at_] != '\n') text_[at_++] = ' ';
  }

  void blank_block_comment() {
    const std::size_t end = text_.find("*/", at_ + 2);
    if (end == kNone) fail_at(at_, "this comment does not end: */ is missing");
    for (; at_ < end + 2; ++at_) {
      if (text_[at_] != '\n' && text_[at_] != '\r') text_[at_] = ' ';
    }
  }

  std::string& text_;
  std::string_view name_;
  std::size_t at_ = 0;
  std::vector<std::size_t> open_;  // brackets waiting for their closing one
  std::size_t comma_ = kNone;      // a comma that is trailing if a closing bracket comes next
  char last_ = '\0';               // last character that counts
};

/// Builds the tree from simdjson's forward-only document.
class TreeBuilder {
 public:
  TreeBuilder(std::string_view original, std::string_view name, std::string blanked)
      : original_(original), name_(name), json_(blanked) {
    line_starts_.push_back(0);
    for (std::size_t i = 0; i < original.size(); ++i) {
      if (original[i] == '\n') line_starts_.push_back(i + 1);
    }
  }

  JsonValue build() {
    const std::size_t first = std::string_view(json_).find_first_not_of(" \t\r\n");
    if (first == std::string_view::npos) fail_at(0, "the file is empty: a config is one JSON object { ... }");
    if (json_.data()[first] != '{') fail_at(first, "a config is one JSON object: '{' expected");
    check(parser_.iterate(json_).get(document_), original_.size());
    ondemand::value root;
    check(document_.get_value().get(root), first);
    JsonValue tree = value_of(root, 0);
    const char* rest = nullptr;
    if (document_.current_location().get(rest) == simdjson::SUCCESS) {
      fail_at(offset_of(rest), "unexpected text after the closing '}'");
    }
    return tree;
  }

 private:
  [[noreturn]] void fail_at(std::size_t offset, std::string_view what) const {
    fail("{}:{}: {}", name_, line_and_column(original_, std::min(offset, original_.size())), what);
  }

  std::size_t offset_of(const char* position) const {
    return static_cast<std::size_t>(std::max<std::ptrdiff_t>(0, position - json_.data()));
  }

  std::size_t location(std::size_t otherwise) {
    const char* position = nullptr;
    if (document_.current_location().get(position) != simdjson::SUCCESS) return otherwise;
    return offset_of(position);
  }

  void check(simdjson::error_code error, std::size_t offset) const {
    if (error == simdjson::SUCCESS) return;
    switch (error) {
      case simdjson::TAPE_ERROR:
        fail_at(offset, "not JSON: a comma, colon, quote or bracket is missing or too much");
      case simdjson::INCOMPLETE_ARRAY_OR_OBJECT:
        fail_at(offset, "not JSON: a closing bracket is missing");
      case simdjson::NUMBER_ERROR:
        fail_at(offset, "not a JSON number");
      case simdjson::INCORRECT_TYPE:
        fail_at(offset, "not a JSON value");
      case simdjson::UTF8_ERROR:
        fail_at(offset, "the file is not UTF-8");
      default:
        fail_at(offset, fmt::format("not JSON: {}", simdjson::error_message(error)));
    }
  }

  int line_of(std::size_t offset) const {
    const auto next = std::upper_bound(line_starts_.begin(), line_starts_.end(), offset);
    return static_cast<int>(next - line_starts_.begin());
  }

  JsonValue value_of(ondemand::value value, int depth) {
    const std::size_t offset = offset_of(value.raw_json_token().data());
    if (depth > kMaxDepth) fail_at(offset, "nested too deeply");
    ondemand::json_type type{};
    check(value.type().get(type), offset);
    JsonValue out;
    switch (type) {
      case ondemand::json_type::object:
        out.data = object_of(value, offset, depth);
        break;
      case ondemand::json_type::array:
        out.data = array_of(value, offset, depth);
        break;
      case ondemand::json_type::number:
        out.data = number_of(value, offset);
        break;
      case ondemand::json_type::string: {
        std::string_view text;
        check(value.get_string().get(text), offset);
        out.data = std::string(text);
        break;
      }
      case ondemand::json_type::boolean: {
        bool flag = false;
        check(value.get_bool().get(flag), offset);
        out.data = flag;
        break;
      }
      case ondemand::json_type::null: {
        bool null = false;
        check(simdjson::simdjson_result<bool>(value.is_null()).get(null), offset);
        check(null ? simdjson::SUCCESS : simdjson::INCORRECT_TYPE, offset);
        break;
      }
    }
    out.line = line_of(offset);
    return out;
  }

  JsonValue::Object object_of(ondemand::value value, std::size_t offset, int depth) {
    ondemand::object object;
    check(value.get_object().get(object), offset);
    JsonValue::Object members;
    for (auto item : object) {
      ondemand::field field;
      check(std::move(item).get(field), location(original_.size()));
      const std::size_t key_offset = offset_of(field.key().raw()) - 1;
      std::string_view key;
      check(field.unescaped_key().get(key), key_offset);
      // No key has one, and a message that quoted it would not stay one line.
      const bool control =
          std::ranges::any_of(key, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
      if (control) fail_at(key_offset, "a key holds a control character, such as a line break");
      for (const JsonValue::Member& member : members) {
        if (member.key != key) continue;
        fail_at(key_offset, fmt::format("duplicate key \"{}\", first given on line {}", key, member.value.line));
      }
      std::string owned_key(key);
      members.push_back({std::move(owned_key), value_of(field.value(), depth + 1)});
    }
    return members;
  }

  JsonValue::Array array_of(ondemand::value value, std::size_t offset, int depth) {
    ondemand::array array;
    check(value.get_array().get(array), offset);
    JsonValue::Array elements;
    for (auto item : array) {
      ondemand::value element;
      check(std::move(item).get(element), location(original_.size()));
      elements.push_back(value_of(element, depth + 1));
    }
    return elements;
  }

  JsonValue::Data number_of(ondemand::value value, std::size_t offset) const {
    ondemand::number number;
    check(value.get_number().get(number), offset);
    if (number.is_int64()) return number.get_int64();
    return number.as_double();
  }

  std::string_view original_;
  std::string_view name_;
  simdjson::padded_string json_;
  ondemand::parser parser_;
  ondemand::document document_;
  std::vector<std::size_t> line_starts_;
};

nlohmann::ordered_json to_nlohmann(const JsonValue& value) {
  if (const auto* array = value.as_array()) {
    auto out = nlohmann::ordered_json::array();
    for (const JsonValue& element : *array) out.push_back(to_nlohmann(element));
    return out;
  }
  if (const auto* object = value.as_object()) {
    auto out = nlohmann::ordered_json::object();
    for (const auto& [key, member] : *object) out[key] = to_nlohmann(member);
    return out;
  }
  if (const bool* flag = value.as_bool()) return *flag;
  if (const std::int64_t* number = value.as_int()) return *number;
  if (const double* number = value.as_double()) return *number;
  if (const std::string* text = value.as_string()) return *text;
  return nullptr;
}

void merge_value(JsonValue& target, JsonValue value) {
  JsonValue::Object* members = value.as_object();
  if (members == nullptr || !target.is_object()) {
    target = std::move(value);
    return;
  }
  for (JsonValue::Member& member : *members) {
    JsonValue* old = target.find(member.key);
    if (old == nullptr) {
      target.as_object()->push_back(std::move(member));
    } else {
      merge_value(*old, std::move(member.value));
    }
  }
}

}  // namespace

std::string line_and_column(std::string_view text, std::size_t offset) {
  const std::string_view before = text.substr(0, offset);
  const auto line = 1 + std::count(before.begin(), before.end(), '\n');
  const std::size_t line_end = before.rfind('\n');
  return fmt::format("{}:{}", line, line_end == std::string_view::npos ? offset + 1 : offset - line_end);
}

void blank_comments(std::string& text, std::string_view name) { Blanker(text, name).run(); }

JsonValue parse_json(std::string_view text, std::string_view name) {
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  std::string blanked(text);
  if (text.substr(0, 3) == kByteOrderMark) blanked.replace(0, 3, "   ");
  blank_comments(blanked, name);
  return TreeBuilder(text, name, std::move(blanked)).build();
}

JsonValue parse_json_value(std::string_view text, std::string_view name) {
  const std::size_t first = text.find_first_not_of(" \t");
  const bool composite = first != std::string_view::npos && (text[first] == '{' || text[first] == '[');
  try {
    JsonValue wrapped = parse_json(fmt::format("{{\"v\":{}\n}}", text), name);
    JsonValue::Object& members = *wrapped.as_object();
    if (members.size() == 1) return std::move(members.front().value);
  } catch (const Error&) {
    if (composite) fail("{}: \"{}\" is not JSON", name, text);
  }
  return JsonValue(std::string(text));
}

void merge_at(JsonValue& root, std::string_view path, JsonValue value) {
  JsonValue* node = &root;
  std::string_view rest = path;
  while (!rest.empty()) {
    const std::size_t dot = rest.find('.');
    const std::string_view key = rest.substr(0, dot);
    require(!key.empty(), "\"{}\" is not a key path: a name is missing between dots", path);
    if (node->is_null()) node->data = JsonValue::Object{};
    require(node->is_object(), "{} cannot be set: what stands above \"{}\" is {}, not a section", path, key,
            node->type_name());
    if (node->find(key) == nullptr) node->as_object()->push_back({std::string(key), JsonValue()});
    node = node->find(key);
    rest = dot == std::string_view::npos ? std::string_view() : rest.substr(dot + 1);
  }
  merge_value(*node, std::move(value));
}

std::string to_json_text(const JsonValue& value, int indent) { return to_nlohmann(value).dump(indent); }

}  // namespace llama_zero
