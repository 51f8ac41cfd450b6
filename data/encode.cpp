#include "data/encode.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>

#include "core/error.h"
#include "data/prompt_template.h"

namespace llama_zero {
namespace {

constexpr std::size_t kMaxThreads = 8;

/// Calls `work(index)` for every index below `count`, from several threads. Rethrows what one of them threw.
template <typename Work>
void parallel_for(std::size_t count, const Work& work) {
  std::atomic<std::size_t> next = 0;
  std::mutex mutex;
  std::exception_ptr fault;
  const auto run = [&] {
    try {
      for (std::size_t index = next++; index < count; index = next++) work(index);
    } catch (...) {
      const std::lock_guard<std::mutex> lock(mutex);
      fault = std::current_exception();
    }
  };
  const std::size_t cores = std::max(1U, std::thread::hardware_concurrency());
  std::vector<std::jthread> helpers;
  for (std::size_t i = 1; i < std::min({cores, kMaxThreads, count}); ++i) helpers.emplace_back(run);
  run();
  helpers.clear();  // joins
  if (fault) std::rethrow_exception(fault);
}

}  // namespace

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

void encode_rows(const Tokenizer& tokenizer, std::span<const AlpacaRow> rows, std::int64_t max_tokens,
                 std::vector<EncodedRow>& encoded) {
  encoded.resize(rows.size());
  parallel_for(rows.size(), [&](std::size_t i) { encode_row(tokenizer, rows[i], max_tokens, encoded[i]); });
}

std::vector<std::int32_t> encode_prompt(const Tokenizer& tokenizer, std::string_view instruction,
                                        std::string_view input) {
  std::vector<std::int32_t> tokens{tokenizer.bos_id()};
  tokenizer.encode(format_prompt(instruction, input), tokens);
  return tokens;
}

}  // namespace llama_zero
