// Finds the token file of a data set, or builds it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "core/files.h"
#include "data/token_file.h"
#include "data/tokenizer.h"

namespace llama_zero {

struct BuildProgress {
  std::uint64_t bytes_done = 0;  ///< of the Alpaca file
  std::uint64_t bytes_total = 0;
  std::int64_t rows = 0;
};
/// Called from the building thread about once a megabyte.
using BuildProgressCallback = std::function<void(const BuildProgress&)>;

struct OpenedTokenFile {
  TokenFile file;
  bool built = false;     ///< by this call
  std::string statement;  ///< one line for the run's header: what was built or found, where, and why there
};

/// The token file of `source` for this tokenizer and max_tokens (the sequence length, >= 2). It lies next to the data
/// as <source>.<hash of tokenizer, template and max_tokens>.lztok; when that folder cannot be written, in
/// $XDG_CACHE_HOME/llama_zero or
/// ~/.cache/llama_zero. A file that is whole and was made from the same bytes is used; otherwise (none, source changed,
/// or damaged, which is warned about) it is built: under a lock, under a temporary name, then renamed, so that programs
/// that start together build it once and never see half a file. Building streams: 8 bytes of memory a row. Throws Error
/// as AlpacaReader does, and when no folder can be written. Call it on rank 0; other ranks open `file.path()` with
/// TokenFile once rank 0 has it, and compare key().
OpenedTokenFile open_or_build_token_file(const fs::path& source, const Tokenizer& tokenizer, std::int64_t max_tokens,
                                         const BuildProgressCallback& progress = {});

/// Builds the token file at exactly `destination` (temporary name, then rename), whatever is there.
void build_token_file(const fs::path& source, const Tokenizer& tokenizer, std::int64_t max_tokens,
                      const fs::path& destination, const BuildProgressCallback& progress = {});

}  // namespace llama_zero
