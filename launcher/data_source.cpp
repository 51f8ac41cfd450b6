#include "launcher/data_source.h"

#include <fmt/format.h>

#include <cstdint>

#include "core/error.h"
#include "core/log.h"
#include "data/token_cache.h"
#include "launcher/bundled.h"
#include "launcher/progress.h"

namespace llama_zero {
namespace {

constexpr std::uint64_t kBytesBetweenLines = std::uint64_t{64} << 20U;

std::string key_text(const TokenFileKey& key) {
  return fmt::format("{:x}-{:x}-{:x}-{}", key.source_hash, key.tokenizer_hash, key.template_hash, key.max_tokens);
}

// Only files that take a while report how far they are.
BuildProgressCallback build_reporter() {
  return [next = kBytesBetweenLines](const BuildProgress& progress) mutable {
    if (progress.bytes_done < next) return;
    next = progress.bytes_done + kBytesBetweenLines;
    log::info("tokenizing: {} rows, {:.0f} %", format_count(progress.rows),
              100.0 * static_cast<double>(progress.bytes_done) / static_cast<double>(progress.bytes_total));
  };
}

}  // namespace

DataSource open_data(const std::string& data, const Tokenizer& tokenizer, std::int64_t sequence_length,
                     const HostGroup& group) {
  DataSource result;
  std::string key;
  group.on_root([&] {
    result.source = data;
    if (data.empty()) {
      const SampleFiles sample = bundled_sample();
      result.source = sample.train;
      result.notes.push_back(fmt::format("bundled sample{}: {}", sample.written ? ", written on this first use" : "",
                                         sample.train.string()));
    }
    OpenedTokenFile opened = open_or_build_token_file(result.source, tokenizer, sequence_length, build_reporter());
    result.notes.push_back(opened.statement);
    result.tokens = std::move(opened.file);
    key = key_text(result.tokens.key());
  });
  const fs::path path = group.from_root(result.tokens.path().string());
  key = group.from_root(key);
  group.together([&] {
    if (group.rank() == 0) return;
    result.source = data;
    result.tokens = TokenFile(path);
    require(key_text(result.tokens.key()) == key,
            "{} is not the token file that rank 0 has; do all hosts share the folder?", path.string());
  });
  return result;
}

}  // namespace llama_zero
