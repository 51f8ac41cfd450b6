// Rows given as token ids, for eval without a tokenizer.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "core/files.h"
#include "data/encode.h"

namespace llama_zero {

/// One row a line: [1, 2, 3], or {"ids": [1, 2, 3], "prompt": 2} where the first `prompt` tokens (1 when absent) have
/// no loss. Empty lines are passed over. Throws Error naming file and line for anything else, for ids outside [0,
/// vocab_size), for rows of fewer than 2 or more than `max_tokens` tokens, and for a file without rows.
std::vector<EncodedRow> read_id_rows(const fs::path& path, std::int64_t vocab_size, std::int64_t max_tokens);
/// The same from text; `origin` stands in messages.
std::vector<EncodedRow> parse_id_rows(std::string_view text, std::string_view origin, std::int64_t vocab_size,
                                      std::int64_t max_tokens);

}  // namespace llama_zero
