#include "data/pass_builder.h"

#include <algorithm>

#include "data/packer.h"

namespace llama_zero {
namespace {

constexpr std::int32_t kIgnoreTarget = -100;  // core/pass.h

void end_document(Pass& pass) { pass.cu_seqlens.push_back(static_cast<std::int32_t>(pass.tokens.size())); }

}  // namespace

std::int64_t document_loss_tokens(std::int64_t tokens, std::int64_t prompt_tokens, bool train_on_prompt) {
  return tokens - (train_on_prompt ? 1 : std::max(prompt_tokens, std::int64_t{1}));
}

void append_document(Pass& pass, std::span<const std::int32_t> tokens, std::int64_t prompt_tokens,
                     bool train_on_prompt) {
  if (pass.cu_seqlens.empty()) pass.cu_seqlens.push_back(0);
  const auto count = static_cast<std::int64_t>(tokens.size());
  const std::int64_t first_counted = train_on_prompt ? 1 : std::max(prompt_tokens, std::int64_t{1});
  pass.tokens.insert(pass.tokens.end(), tokens.begin(), tokens.end());
  for (std::int64_t next = 1; next < count; ++next) {
    pass.targets.push_back(next < first_counted ? kIgnoreTarget : tokens[static_cast<std::size_t>(next)]);
  }
  pass.targets.push_back(kIgnoreTarget);
  for (std::int64_t i = 0; i < count; ++i) pass.positions.push_back(static_cast<std::int32_t>(i));
  end_document(pass);
  pass.attended_tokens += count;
  pass.longest = std::max(pass.longest, count);
  pass.loss_tokens += document_loss_tokens(count, prompt_tokens, train_on_prompt);
  ++pass.rows;
}

void pad_pass(Pass& pass, std::int64_t alignment) {
  if (pass.cu_seqlens.empty()) pass.cu_seqlens.push_back(0);
  const std::int64_t tokens = pass.tokens_count();
  const std::int64_t padding = tokens == 0 ? alignment : round_up(tokens, alignment) - tokens;
  if (padding == 0) return;
  pass.tokens.resize(static_cast<std::size_t>(tokens + padding), 0);
  pass.targets.resize(static_cast<std::size_t>(tokens + padding), kIgnoreTarget);
  pass.positions.resize(static_cast<std::size_t>(tokens + padding), 0);
  end_document(pass);
}

}  // namespace llama_zero
