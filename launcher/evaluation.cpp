#include "launcher/evaluation.h"

#include <algorithm>

#include "data/packer.h"
#include "data/pass_builder.h"
#include "launcher/score.h"

namespace llama_zero {
namespace {

constexpr std::int64_t kTokensPerPass = 4096;
constexpr std::int64_t kPassAlignment = 256;

std::vector<Pass> pack(const std::vector<EncodedRow>& rows) {
  std::vector<std::int64_t> lengths;
  Bin all;
  for (const EncodedRow& row : rows) {
    all.push_back(static_cast<std::int64_t>(lengths.size()));
    lengths.push_back(static_cast<std::int64_t>(row.tokens.size()));
  }
  if (rows.empty()) return {};
  const std::int64_t limit = std::max(kTokensPerPass, round_up(std::ranges::max(lengths), kPassAlignment));
  std::vector<Pass> passes;
  for (const Bin& bin : pack_rows(lengths, all, limit, kPassAlignment)) {
    Pass& pass = passes.emplace_back();
    for (const std::int64_t index : bin) {
      const EncodedRow& row = rows[static_cast<std::size_t>(index)];
      append_document(pass, row.tokens, row.prompt_tokens, false);
    }
    pad_pass(pass, kPassAlignment);
  }
  return passes;
}

}  // namespace

std::int64_t longest_output(const std::vector<AlpacaRow>& rows, const Tokenizer& tokenizer) {
  std::size_t longest = 0;
  for (const AlpacaRow& row : rows) longest = std::max(longest, tokenizer.encode(row.output).size());
  return static_cast<std::int64_t>(longest) + 1;
}

LossSum sum_losses(LoadedModel& model, const std::vector<AlpacaRow>& rows, std::int64_t max_tokens) {
  std::vector<EncodedRow> encoded(rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) encode_row(model.tokenizer(), rows[i], max_tokens, encoded[i]);
  return sum_losses(model, encoded);
}

LossSum sum_losses(LoadedModel& model, const std::vector<EncodedRow>& rows) {
  const std::vector<Pass> passes = pack(rows);
  LossSum result;
  result.sum = model.sum_losses(passes);
  for (const Pass& pass : passes) result.tokens += pass.loss_tokens;
  return result;
}

std::vector<Answer> answer_rows(LoadedModel& model, std::vector<AlpacaRow> rows, std::int64_t max_new_tokens) {
  std::vector<Answer> answers;
  std::vector<TokenIds> prompts;
  std::vector<std::size_t> asked;
  for (AlpacaRow& row : rows) {
    TokenIds prompt = encode_prompt(model.tokenizer(), row.instruction, row.input);
    if (static_cast<std::int64_t>(prompt.size()) < model.max_positions()) {
      prompts.push_back(std::move(prompt));
      asked.push_back(answers.size());
    }
    answers.push_back({std::move(row), "", false});
  }
  const std::vector<TokenIds> said = model.generate(prompts, max_new_tokens, SamplingOptions{});
  for (std::size_t i = 0; i < said.size(); ++i) answers[asked[i]].text = model.tokenizer().decode(said[i]);
  for (Answer& answer : answers) answer.exact = exact_match(answer.text, answer.row.output);
  return answers;
}

}  // namespace llama_zero
