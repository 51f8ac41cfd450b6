#include "data/alpaca.h"

#include <simdjson.h>

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "data/json_scan.h"

namespace llama_zero {
namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
constexpr std::string_view kExpected =
    R"(expected a JSON array of {"instruction": ..., "input": ..., "output": ...} or one such object a line)";

bool is_space(char character) {
  return character == ' ' || character == '\t' || character == '\n' || character == '\r';
}

std::string show(char character) {
  const auto byte = static_cast<unsigned char>(character);
  return byte >= 0x20 && byte < 0x7F ? fmt::format("'{}'", character) : fmt::format("byte 0x{:02X}", byte);
}

std::string_view type_name(simdjson::dom::element_type type) {
  switch (type) {
    case simdjson::dom::element_type::ARRAY:
      return "an array";
    case simdjson::dom::element_type::OBJECT:
      return "an object";
    case simdjson::dom::element_type::BOOL:
      return "a boolean";
    case simdjson::dom::element_type::NULL_VALUE:
      return "null";
    case simdjson::dom::element_type::STRING:
      return "a string";
    default:
      return "a number";
  }
}

}  // namespace

class AlpacaReader::RowParser {
 public:
  /// What is wrong with the object `text`, which stands at `offset` of the file; "" when `row` was filled.
  std::string parse(std::string_view text, std::uint64_t offset, AlpacaRow& row) {
    buffer_.assign(text);
    buffer_.resize(text.size() + simdjson::SIMDJSON_PADDING);  // which the parser reads past the end
    simdjson::dom::object object;
    const simdjson::error_code error = parser_.parse(buffer_.data(), text.size(), false).get_object().get(object);
    if (error == simdjson::UTF8_ERROR) {
      return fmt::format("invalid UTF-8 at byte {}; save the file as UTF-8", offset + find_invalid_utf8(text));
    }
    if (error != simdjson::SUCCESS) return fmt::format("invalid JSON: {}", simdjson::error_message(error));
    return read_fields(object, row);
  }

 private:
  static std::string read_fields(const simdjson::dom::object& object, AlpacaRow& row) {
    row.instruction.clear();
    row.input.clear();
    row.output.clear();
    row.family.clear();
    bool has_instruction = false;
    bool has_output = false;
    for (const simdjson::dom::key_value_pair field : object) {
      std::string fault;
      if (field.key == "instruction") {
        fault = read_string(field, row.instruction);
        has_instruction = true;
      } else if (field.key == "output") {
        fault = read_string(field, row.output);
        has_output = true;
      } else if (field.key == "input" && !field.value.is_null()) {
        fault = read_string(field, row.input);
      } else if (field.key == "family" && field.value.is_string()) {
        fault = read_string(field, row.family);
      }
      if (!fault.empty()) return fault;
    }
    if (!has_instruction) return R"(no "instruction")";
    if (!has_output) return R"(no "output")";
    return {};
  }

  static std::string read_string(const simdjson::dom::key_value_pair& field, std::string& out) {
    std::string_view value;
    if (field.value.get_string().get(value) != simdjson::SUCCESS) {
      return fmt::format(R"("{}" is {}, expected a string)", field.key, type_name(field.value.type()));
    }
    out.assign(value);
    return {};
  }

  simdjson::dom::parser parser_;
  std::string buffer_;
};

AlpacaReader::AlpacaReader(const fs::path& path)
    : name_(path.string()), file_(path), text_(file_.text()), parser_(std::make_unique<RowParser>()) {
  start();
}

AlpacaReader::AlpacaReader(std::string name, std::string_view text)
    : name_(std::move(name)), text_(text), parser_(std::make_unique<RowParser>()) {
  start();
}

AlpacaReader::~AlpacaReader() = default;

void AlpacaReader::start() {
  if (text_.substr(0, kByteOrderMark.size()) == kByteOrderMark) position_ = kByteOrderMark.size();
  skip_space();
  require(!at_end(), "{}: no rows: the file is empty; {}", name_, kExpected);
  const char first = text_[position_];
  require(first == '[' || first == '{', "{}: starts with {} at byte {}; {}", name_, show(first), position_, kExpected);
  array_ = first == '[';
  if (!array_) return;
  ++position_;
  skip_space();
  require(at_end() || text_[position_] != ']', "{}: no rows: the array is empty; {}", name_, kExpected);
}

bool AlpacaReader::next(AlpacaRow& row) {
  if (ended_) return false;
  ended_ = array_ ? !find_array_row() : !find_line_row();
  if (ended_) return false;
  ++rows_;
  const std::uint64_t begin = position_;
  if (text_[begin] != '{') fail_row(begin, fmt::format("expected a row {{...}}, found {}", show(text_[begin])));
  const std::uint64_t end = array_ ? array_row_end() : line_row_end();
  const std::string fault = parser_->parse(text_.substr(begin, end - begin), begin, row);
  if (!fault.empty()) fail_row(begin, fault);
  row.number = rows_;
  row.byte = begin;
  position_ = end;
  return true;
}

bool AlpacaReader::find_array_row() {
  skip_space();
  if (rows_ > 0 && !at_end()) {
    if (text_[position_] == ']') {
      end_array();
      return false;
    }
    if (text_[position_] != ',') {
      ++rows_;
      fail_row(position_,
               fmt::format("expected a comma before the row or the closing ], found {}", show(text_[position_])));
    }
    ++position_;
    skip_space();
  }
  if (!at_end()) return true;
  ++rows_;
  fail_row(position_, "the file ends here, before the closing ]; is it cut off?");
}

void AlpacaReader::end_array() {
  ++position_;
  skip_space();
  require(at_end(), "{}: text after the closing ] at byte {}", name_, position_);
}

bool AlpacaReader::find_line_row() {
  skip_space();
  return !at_end();
}

std::uint64_t AlpacaReader::array_row_end() const {
  const JsonScan scan = scan_json_object(text_.substr(0, position_ + kMaxAlpacaRowBytes), position_);
  if (scan.status == JsonScanStatus::kClosed) return scan.end;
  if (scan.status == JsonScanStatus::kControlCharacter) {
    fail_row(position_,
             fmt::format("invalid JSON: raw control character in a string at byte {}; is a quote missing?", scan.end));
  }
  if (scan.end == text_.size()) fail_row(position_, "the file ends inside this row; is it cut off?");
  fail_row(position_, fmt::format("the row is larger than {} bytes; is a quote or brace missing?", kMaxAlpacaRowBytes));
}

std::uint64_t AlpacaReader::line_row_end() const {
  const std::size_t line_end = std::min(text_.find('\n', position_), text_.size());
  if (line_end - position_ > kMaxAlpacaRowBytes) {
    fail_row(position_, fmt::format("the row is larger than {} bytes", kMaxAlpacaRowBytes));
  }
  const JsonScan scan = scan_json_object(text_.substr(0, line_end), position_);
  if (scan.status == JsonScanStatus::kControlCharacter) {
    fail_row(position_, fmt::format("invalid JSON: raw control character in a string at byte {}", scan.end));
  }
  if (scan.status == JsonScanStatus::kUnclosed) {
    fail_row(position_, line_end == text_.size() ? "the file ends inside this row; is it cut off?"
                                                 : "the row does not end on its line (without [ at the file's start, "
                                                   "a row is one line)");
  }
  const auto* rest = std::find_if_not(text_.data() + scan.end, text_.data() + line_end, is_space);
  if (rest != text_.data() + line_end) {
    fail_row(position_, fmt::format("text after the row's closing brace at byte {}", rest - text_.data()));
  }
  return scan.end;
}

void AlpacaReader::skip_space() {
  while (!at_end() && is_space(text_[position_])) ++position_;
}

void AlpacaReader::fail_row(std::uint64_t byte, const std::string& what) const {
  fail("{}: row {} (byte {}): {}", name_, rows_, byte, what);
}

std::vector<AlpacaRow> read_alpaca(const fs::path& path) {
  AlpacaReader reader(path);
  std::vector<AlpacaRow> rows;
  AlpacaRow row;
  while (reader.next(row)) rows.push_back(row);
  return rows;
}

}  // namespace llama_zero
