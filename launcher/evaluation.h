// What eval computes on one rank.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/alpaca.h"
#include "data/encode.h"
#include "launcher/loaded_model.h"

namespace llama_zero {

/// A row and what the model said to it.
struct Answer {
  AlpacaRow row;
  std::string text;
  bool exact = false;
};

/// Rows `rank`, `rank + ranks`, ... of `rows`.
template <typename Row>
std::vector<Row> rows_of_rank(const std::vector<Row>& rows, int rank, int ranks) {
  std::vector<Row> mine;
  for (std::size_t i = static_cast<std::size_t>(rank); i < rows.size(); i += static_cast<std::size_t>(ranks)) {
    mine.push_back(rows[i]);
  }
  return mine;
}

/// Tokens that the longest expected output needs, its end token included.
std::int64_t longest_output(const std::vector<AlpacaRow>& rows, const Tokenizer& tokenizer);

struct LossSum {
  double sum = 0.0;         ///< over the output tokens of all rows
  std::int64_t tokens = 0;  ///< output tokens
};

LossSum sum_losses(LoadedModel& model, const std::vector<EncodedRow>& rows);
/// Rows are cut to `max_tokens`, as in training.
LossSum sum_losses(LoadedModel& model, const std::vector<AlpacaRow>& rows, std::int64_t max_tokens);

/// Greedy answers of at most max_new_tokens. A prompt that leaves no room for an answer gets "".
std::vector<Answer> answer_rows(LoadedModel& model, std::vector<AlpacaRow> rows, std::int64_t max_new_tokens);

}  // namespace llama_zero
