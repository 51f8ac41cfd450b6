// What the tests of data/ share: a folder that vanishes, messages of errors, rows and token files made on the spot.
#pragma once

#include <unistd.h>

#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/files.h"
#include "core/rng.h"
#include "data/token_file_writer.h"
#include "data/tokenizer.h"
#include "tests/support/source_folder.h"
#include "tests/support/temporary_folder.h"

namespace llama_zero::test {

inline void write_file(const fs::path& path, std::string_view text) {
  std::ofstream stream(path, std::ios::binary | std::ios::trunc);
  stream << text;
}

inline std::string read_file(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

/// The message of the Error that `action` throws; "no error" when it throws none.
template <typename Action>
std::string message_of(const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

inline bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

inline Tokenizer sample_tokenizer() { return Tokenizer(source_folder() / "data" / "sample" / "tokenizer.model"); }

/// Lengths of one row.
struct RowShape {
  std::int64_t tokens = 0;
  std::int64_t prompt_tokens = 0;
};

inline constexpr std::int32_t kFixtureVocab = 50000;
inline constexpr std::uint64_t kFixtureMaxTokens = 512;

/// Token i of row r is (r * 7 + i * 3 + 1) % vocab_size: a row is known by its first token.
inline std::int32_t fixture_token(std::int64_t row, std::int64_t index, std::int32_t vocab_size = kFixtureVocab) {
  return static_cast<std::int32_t>((row * 7 + index * 3 + 1) % vocab_size);
}

inline void write_token_file(const fs::path& path, const std::vector<RowShape>& rows,
                             std::int32_t vocab_size = kFixtureVocab) {
  TokenFileWriter writer(path, {11, 22, 33, kFixtureMaxTokens}, vocab_size);
  for (std::size_t row = 0; row < rows.size(); ++row) {
    EncodedRow encoded;
    for (std::int64_t i = 0; i < rows[row].tokens; ++i) {
      encoded.tokens.push_back(fixture_token(static_cast<std::int64_t>(row), i, vocab_size));
    }
    encoded.prompt_tokens = rows[row].prompt_tokens;
    writer.add(encoded);
  }
  writer.finish();
}

/// Lengths as instruction data has them: many of 40 to 250 tokens, some up to 512.
inline std::vector<RowShape> realistic_rows(std::int64_t count) {
  const CounterRng rng(5, 5);
  std::vector<RowShape> rows;
  for (std::int64_t row = 0; row < count; ++row) {
    const auto at = static_cast<std::uint64_t>(row) * 3;
    const std::int64_t prompt = 40 + static_cast<std::int64_t>(rng.below(at, 40));
    const auto output_limit = rng.below(at + 1, 10) == 0 ? std::uint64_t{430} : std::uint64_t{170};
    rows.push_back({prompt + 2 + static_cast<std::int64_t>(rng.below(at + 2, output_limit)), prompt});
  }
  return rows;
}

}  // namespace llama_zero::test
