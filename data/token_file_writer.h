// Writes a token file row by row: the tokens go to the disk at once, the index stays in memory (8 bytes a row) until
// the end.
#pragma once

#include <cstdint>
#include <vector>

#include "core/files.h"
#include "data/encode.h"
#include "data/stream_hash.h"
#include "data/token_file_format.h"

namespace llama_zero {

class TokenFileWriter {
 public:
  /// The file appears at `destination` with finish(), and not at all without it.
  TokenFileWriter(const fs::path& destination, const TokenFileKey& key, std::int32_t vocab_size);

  /// Ids outside the vocabulary throw Error.
  void add(const EncodedRow& row);
  void finish();

 private:
  template <typename T>
  void append(std::span<const T> values);
  void flush();
  void end_section(std::size_t section);
  void write_offsets();

  AtomicFile file_;
  TokenFileHeader header_;
  StreamHash hash_;                     ///< of the section being written
  std::vector<std::byte> buffer_;       ///< not yet written
  std::vector<std::uint32_t> lengths_;  ///< tokens of each row
  std::vector<std::uint32_t> prompts_;
};

}  // namespace llama_zero
