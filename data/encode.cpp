#include "data/encode.h"

#include <algorithm>

#include "core/error.h"
#include "data/prompt_template.h"

namespace llama_zero {

void encode_row(const Tokenizer& tokenizer, const AlpacaRow& row, std::int64_t max_tokens, EncodedRow& encoded) {
  require(max_tokens >= 2, "a row needs at least 2 tokens, not {}", max_tokens);
  std::vector<std::int32_t>& tokens = encoded.tokens;
  tokens.clear();
  tokens.push_back(tokenizer.bos_id());
  tokenizer.encode(format_prompt(row.instruction, row.input), tokens);
  const auto prompt_tokens = static_cast<std::int64_t>(tokens.size());
  tokenizer.encode(row.output, tokens);
  tokens.push_back(tokenizer.eos_id());
  encoded.truncated = static_cast<std::int64_t>(tokens.size()) > max_tokens;
  if (encoded.truncated) tokens.resize(static_cast<std::size_t>(max_tokens));
  encoded.prompt_tokens = std::min(prompt_tokens, max_tokens);
}

std::vector<std::int32_t> encode_prompt(const Tokenizer& tokenizer, std::string_view instruction,
                                        std::string_view input) {
  std::vector<std::int32_t> tokens{tokenizer.bos_id()};
  tokenizer.encode(format_prompt(instruction, input), tokens);
  return tokens;
}

}  // namespace llama_zero
