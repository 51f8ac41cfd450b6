// How a row becomes tokens: [BOS] + encode(prompt) + encode(output) + [EOS].
//
// Prompt and output are encoded separately, so that the border between them is the border of a token and a generated
// response starts from exactly the tokens it was trained behind. A change of this rule changes template_fingerprint().
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "data/alpaca.h"
#include "data/tokenizer.h"

namespace llama_zero {

struct EncodedRow {
  std::vector<std::int32_t> tokens;
  std::int64_t prompt_tokens = 0;  ///< BOS and the prompt, <= tokens.size()
  bool truncated = false;          ///< the row was longer: only its first max_tokens tokens are kept
};

/// Overwrites `encoded`. max_tokens >= 2.
void encode_row(const Tokenizer& tokenizer, const AlpacaRow& row, std::int64_t max_tokens, EncodedRow& encoded);

/// encode_row() for every row, on as many threads as there are cores (at most 8); `encoded` is resized to the rows.
void encode_rows(const Tokenizer& tokenizer, std::span<const AlpacaRow> rows, std::int64_t max_tokens,
                 std::vector<EncodedRow>& encoded);

/// What generation starts from: [BOS] + encode(prompt).
std::vector<std::int32_t> encode_prompt(const Tokenizer& tokenizer, std::string_view instruction,
                                        std::string_view input);

}  // namespace llama_zero
