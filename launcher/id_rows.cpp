#include "launcher/id_rows.h"

#include <simdjson.h>

#include <algorithm>
#include <string>

#include "core/error.h"

namespace llama_zero {
namespace {

/// Parses one line; `where` is "file:line".
class RowParser {
 public:
  RowParser(std::int64_t vocab_size, std::int64_t max_tokens) : vocab_size_(vocab_size), max_tokens_(max_tokens) {}

  EncodedRow parse(std::string_view line, const std::string& where) {
    simdjson::dom::element root;
    const auto error = parser_.parse(simdjson::padded_string(line)).get(root);
    require(error == simdjson::SUCCESS, "{}: not JSON: {}", where, simdjson::error_message(error));
    EncodedRow row;
    row.prompt_tokens = 1;
    simdjson::dom::array ids;
    if (root.is_object()) {
      require(root["ids"].get(ids) == simdjson::SUCCESS, "{}: there is no list \"ids\"", where);
      if (root["prompt"].error() == simdjson::SUCCESS) {
        require(root["prompt"].get(row.prompt_tokens) == simdjson::SUCCESS, "{}: \"prompt\" is no number of tokens",
                where);
      }
    } else {
      require(root.get(ids) == simdjson::SUCCESS, "{}: neither a list of token ids nor an object with \"ids\"", where);
    }
    for (const simdjson::dom::element id : ids) row.tokens.push_back(token(id, where));
    check(row, where);
    return row;
  }

 private:
  std::int32_t token(const simdjson::dom::element& id, const std::string& where) const {
    std::int64_t value = -1;
    const bool number = id.get(value) == simdjson::SUCCESS;
    require(number && value >= 0 && value < vocab_size_, "{}: an id is no number below {}, the model's vocabulary",
            where, vocab_size_);
    return static_cast<std::int32_t>(value);
  }

  void check(const EncodedRow& row, const std::string& where) const {
    const auto tokens = static_cast<std::int64_t>(row.tokens.size());
    require(tokens >= 2 && tokens <= max_tokens_, "{}: {} tokens, where 2 to {} can be", where, tokens, max_tokens_);
    require(row.prompt_tokens >= 1 && row.prompt_tokens < tokens, "{}: a prompt of {} tokens leaves no loss among {}",
            where, row.prompt_tokens, tokens);
  }

  std::int64_t vocab_size_, max_tokens_;
  simdjson::dom::parser parser_;
};

}  // namespace

std::vector<EncodedRow> parse_id_rows(std::string_view text, std::string_view origin, std::int64_t vocab_size,
                                      std::int64_t max_tokens) {
  RowParser parser(vocab_size, max_tokens);
  std::vector<EncodedRow> rows;
  for (std::int64_t number = 1; !text.empty(); ++number) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    rows.push_back(parser.parse(line, fmt::format("{}:{}", origin, number)));
  }
  require(!rows.empty(), "{}: there are no rows", origin);
  return rows;
}

std::vector<EncodedRow> read_id_rows(const fs::path& path, std::int64_t vocab_size, std::int64_t max_tokens) {
  return parse_id_rows(MappedFile(path).text(), path.string(), vocab_size, max_tokens);
}

}  // namespace llama_zero
