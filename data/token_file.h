// The token file: a data set as token ids, memory-mapped. One file, written once, checked when opened.
//
// Layout (native byte order; data/token_file_format.h): a header of 256 bytes, then three sections, each starting at a
// multiple of 64 and padded with zeros to one:
//   tokens   u16 or i32 [tokens]   all rows back to back; u16 when the vocabulary has at most 65,536 pieces
//   offsets  u64 [rows + 1]        row r holds tokens [offsets[r], offsets[r + 1])
//   prompts  u32 [rows]            tokens of row r that are BOS and prompt: this is the loss mask, since a row's masked
//   tokens
//                                  are always its first ones
// The header carries the fingerprint of what the file was made from, and XXH3-64 sums of the sections and of itself, so
// every byte of the file is covered by a sum.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "core/files.h"

namespace llama_zero {

/// What a token file is made from: two equal keys mean equal tokens.
struct TokenFileKey {
  std::uint64_t source_hash = 0;     ///< bytes of the Alpaca file
  std::uint64_t tokenizer_hash = 0;  ///< Tokenizer::fingerprint()
  std::uint64_t template_hash = 0;   ///< template_fingerprint()
  std::uint64_t max_tokens = 0;      ///< longest row kept whole

  bool operator==(const TokenFileKey&) const = default;
};

/// A mapped token file. Movable; safe to read from several threads.
class TokenFile {
 public:
  TokenFile() = default;
  /// Opens and checks everything: sizes, sums, order of the offsets, range of the ids. Throws Error, one line that
  /// names the file, the fault and the fix.
  explicit TokenFile(const fs::path& path);

  std::int64_t rows() const { return static_cast<std::int64_t>(prompts_.size()); }
  std::int64_t tokens_count() const { return tokens_count_; }
  std::int32_t vocab_size() const { return vocab_size_; }
  std::int64_t longest_row() const { return longest_row_; }            ///< tokens
  std::int64_t truncated_rows() const { return truncated_rows_; }      ///< longer than max_tokens: cut to it
  std::int64_t prompt_only_rows() const { return prompt_only_rows_; }  ///< of these, rows cut before any output token
  const TokenFileKey& key() const { return key_; }
  const fs::path& path() const { return file_.path(); }

  std::int64_t row_tokens(std::int64_t row) const {
    return static_cast<std::int64_t>(offsets_[static_cast<std::size_t>(row) + 1] -
                                     offsets_[static_cast<std::size_t>(row)]);
  }
  std::int64_t prompt_tokens(std::int64_t row) const { return prompts_[static_cast<std::size_t>(row)]; }
  /// Writes the row's ids to `out`, whose size is row_tokens(row).
  void copy_row(std::int64_t row, std::span<std::int32_t> out) const;

  /// One line, e.g. "600 rows, 161234 tokens (mean 268.7, longest 512); 3 longer than 512 tokens were truncated, 1 of
  /// them inside the prompt"
  std::string summary() const;

 private:
  void check_index();

  MappedFile file_;
  TokenFileKey key_;
  std::span<const std::uint16_t> narrow_tokens_;
  std::span<const std::int32_t> wide_tokens_;
  std::span<const std::uint64_t> offsets_;
  std::span<const std::uint32_t> prompts_;
  std::int64_t tokens_count_ = 0;
  std::int64_t longest_row_ = 0;
  std::int64_t truncated_rows_ = 0;
  std::int64_t prompt_only_rows_ = 0;
  std::int32_t vocab_size_ = 0;
};

}  // namespace llama_zero
