#include <doctest/doctest.h>

#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "data/token_file.h"
#include "data/token_file_format.h"
#include "data_fixtures.h"

namespace llama_zero {
namespace {

using test::contains;
using test::message_of;
using test::write_token_file;

const std::vector<test::RowShape> kRows = {{5, 2}, {2, 1}, {9, 9}, {4, 3}};
constexpr std::int32_t kWideVocab = 70000;

std::string open_fault(const fs::path& path) {
  return message_of([&] { TokenFile file(path); });
}

/// A file whose header `change` has altered and whose header checksum is right again.
void rewrite_header(const fs::path& path, const std::function<void(TokenFileHeader&)>& change) {
  std::string bytes = test::read_file(path);
  TokenFileHeader header;
  std::memcpy(&header, bytes.data(), sizeof(header));
  change(header);
  header.header_hash = header.compute_hash();
  std::memcpy(bytes.data(), &header, sizeof(header));
  test::write_file(path, bytes);
}

/// The same for a section's bytes and all sums over them.
template <typename T>
void rewrite_section(const fs::path& path, std::size_t section, std::size_t index, T value) {
  std::string bytes = test::read_file(path);
  TokenFileHeader header;
  std::memcpy(&header, bytes.data(), sizeof(header));
  std::memcpy(bytes.data() + header.section_begin[section] + index * sizeof(T), &value, sizeof(T));
  const TokenFileLayout layout = token_file_layout(header.rows, header.tokens, header.bytes_per_token);
  const std::string_view content =
      std::string_view(bytes).substr(layout.begin[section], layout.end(section) - layout.begin[section]);
  test::write_file(path, bytes);
  rewrite_header(path, [&](TokenFileHeader& changed) { changed.section_hash[section] = hash_text(content); });
}

}  // namespace

TEST_CASE("rows come back as written, with 2 bytes a token for small vocabularies and 4 for large") {
  const test::TemporaryFolder folder;
  for (const std::int32_t vocab_size : {test::kFixtureVocab, 65536, 65537, kWideVocab}) {
    CAPTURE(vocab_size);
    write_token_file(folder / "rows.lztok", kRows, vocab_size);
    const TokenFile file(folder / "rows.lztok");
    CHECK(file.rows() == 4);
    CHECK(file.tokens_count() == 20);
    CHECK(file.vocab_size() == vocab_size);
    CHECK(file.longest_row() == 9);
    CHECK(file.key() == TokenFileKey{11, 22, 33, test::kFixtureMaxTokens});
    for (std::int64_t row = 0; row < file.rows(); ++row) {
      const auto& shape = kRows[static_cast<std::size_t>(row)];
      REQUIRE(file.row_tokens(row) == shape.tokens);
      CHECK(file.prompt_tokens(row) == shape.prompt_tokens);
      std::vector<std::int32_t> tokens(static_cast<std::size_t>(shape.tokens));
      file.copy_row(row, tokens);
      for (std::int64_t i = 0; i < shape.tokens; ++i) {
        CHECK(tokens[static_cast<std::size_t>(i)] == test::fixture_token(row, i, vocab_size));
      }
    }
  }
}

TEST_CASE("the largest id of a 2-byte vocabulary survives") {
  const test::TemporaryFolder folder;
  {
    TokenFileWriter writer(folder / "rows.lztok", {1, 2, 3, 8}, 65536);
    writer.add({{65535, 0}, 1, false});
    writer.finish();
  }
  std::vector<std::int32_t> tokens(2);
  TokenFile(folder / "rows.lztok").copy_row(0, tokens);
  CHECK(tokens == std::vector<std::int32_t>{65535, 0});
}

TEST_CASE("truncated rows and rows that are prompt only are counted and told") {
  const test::TemporaryFolder folder;
  {
    TokenFileWriter writer(folder / "rows.lztok", {1, 2, 3, 4}, 100);
    writer.add({{1, 5, 2}, 2, false});
    writer.add({{1, 5, 6, 7}, 2, true});
    writer.add({{1, 5, 6, 7}, 4, true});
    writer.finish();
  }
  const TokenFile file(folder / "rows.lztok");
  CHECK(file.truncated_rows() == 2);
  CHECK(file.prompt_only_rows() == 1);
  CHECK(file.summary() ==
        "3 rows, 11 tokens (mean 3.7, longest 4); 2 longer than 4 tokens were truncated, 1 of them inside the prompt");
}

TEST_CASE("a flipped bit is detected at every byte of the file") {
  const test::TemporaryFolder folder;
  for (const std::int32_t vocab_size : {test::kFixtureVocab, kWideVocab}) {
    write_token_file(folder / "good.lztok", kRows, vocab_size);
    const std::string good = test::read_file(folder / "good.lztok");
    REQUIRE(good.size() == (vocab_size == kWideVocab ? 256 + 128 + 64 + 64 : 256 + 64 + 64 + 64));
    std::size_t undetected = 0;
    for (std::size_t at = 0; at < good.size(); ++at) {
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ (1 << (at % 8)));
      test::write_file(folder / "bad.lztok", bad);
      const std::string fault = open_fault(folder / "bad.lztok");
      if (!contains(fault, "bad.lztok") || !contains(fault, "; delete it and it will be rebuilt")) ++undetected;
    }
    CHECK(undetected == 0);
  }
}

TEST_CASE("a file cut off at any length, or with bytes after its end, is detected") {
  const test::TemporaryFolder folder;
  write_token_file(folder / "good.lztok", kRows);
  const std::string good = test::read_file(folder / "good.lztok");
  std::size_t undetected = 0;
  for (std::size_t size = 0; size < good.size(); ++size) {
    test::write_file(folder / "bad.lztok", std::string_view(good).substr(0, size));
    if (!contains(open_fault(folder / "bad.lztok"), "bad.lztok is damaged: it has ")) ++undetected;
  }
  CHECK(undetected == 0);
  test::write_file(folder / "bad.lztok", good + "x");
  CHECK(contains(open_fault(folder / "bad.lztok"), "it has 449 bytes, its header says 448"));
}

TEST_CASE("the fault is named: what is damaged, version, byte order") {
  const test::TemporaryFolder folder;
  const fs::path path = folder / "rows.lztok";
  const std::string name = path.string();
  const auto fault_after_flip = [&](std::size_t at) {
    write_token_file(path, kRows);
    std::string bytes = test::read_file(path);
    bytes[at] = static_cast<char>(bytes[at] ^ 1);
    test::write_file(path, bytes);
    return open_fault(path);
  };
  const std::string fix = "; delete it and it will be rebuilt";
  CHECK(fault_after_flip(0) == name + " is damaged: it does not start as a token file does" + fix);
  CHECK(contains(fault_after_flip(8), "was written on a machine of another byte order"));
  CHECK(contains(fault_after_flip(12), "has version 0 of the token file format, this program reads 1"));
  CHECK(fault_after_flip(200) == name + " is damaged: the checksum of its header is wrong" + fix);
  CHECK(fault_after_flip(256) == name + " is damaged: the checksum of its tokens is wrong" + fix);
  CHECK(fault_after_flip(320) == name + " is damaged: the checksum of its row offsets is wrong" + fix);
  CHECK(fault_after_flip(384) == name + " is damaged: the checksum of its prompt lengths is wrong" + fix);
  CHECK(contains(open_fault(folder / "none.lztok"), "none.lztok: No such file"));
}

TEST_CASE("an absurd header with a right checksum is refused before anything is allocated") {
  const test::TemporaryFolder folder;
  const fs::path path = folder / "rows.lztok";
  const std::uint64_t huge = ~std::uint64_t{0};
  const std::vector<std::function<void(TokenFileHeader&)>> changes = {
      [=](TokenFileHeader& h) { h.rows = huge; },
      [=](TokenFileHeader& h) { h.rows = 0; },
      [=](TokenFileHeader& h) { h.rows = 3; },
      [=](TokenFileHeader& h) { h.tokens = huge; },
      [=](TokenFileHeader& h) { h.tokens = std::uint64_t{1} << 63U; },
      [=](TokenFileHeader& h) { h.tokens = 0; },
      [=](TokenFileHeader& h) { h.vocab_size = 0; },
      [=](TokenFileHeader& h) { h.vocab_size = huge; },
      [=](TokenFileHeader& h) { h.bytes_per_token = 4; },
      [=](TokenFileHeader& h) { h.bytes_per_token = huge; },
      [=](TokenFileHeader& h) { h.section_begin[1] = huge; },
      [=](TokenFileHeader& h) { h.section_begin[0] = 0; },
      [=](TokenFileHeader& h) { h.file_bytes = huge; },
      [=](TokenFileHeader& h) { h.key.max_tokens = 3; },
      [=](TokenFileHeader& h) { h.vocab_size = 10; },
  };
  for (std::size_t i = 0; i < changes.size(); ++i) {
    CAPTURE(i);
    write_token_file(path, kRows);
    rewrite_header(path, changes[i]);
    CHECK(contains(open_fault(path), "rows.lztok is damaged: "));
  }
}

TEST_CASE("absurd sections with right checksums are refused") {
  const test::TemporaryFolder folder;
  const fs::path path = folder / "rows.lztok";
  const auto fault = [&](std::size_t section, std::size_t index, auto value) {
    write_token_file(path, kRows, kWideVocab);
    rewrite_section(path, section, index, value);
    return open_fault(path);
  };
  CHECK(contains(fault(kOffsetsSection, 0, std::uint64_t{1}), "its row offsets run from 1 to 20 over 20 tokens"));
  CHECK(contains(fault(kOffsetsSection, 4, std::uint64_t{21}), "its row offsets run from 0 to 21 over 20 tokens"));
  CHECK(contains(fault(kOffsetsSection, 2, ~std::uint64_t{0}), "row 2 has tokens"));
  CHECK(contains(fault(kOffsetsSection, 1, std::uint64_t{8}), "row 2 has tokens 8 to 7"));
  rewrite_header(path, [](TokenFileHeader& header) { header.key.max_tokens = ~std::uint64_t{0}; });
  CHECK(contains(open_fault(path), "row 2 has tokens"));  // offsets that run back stay an error under any limit
  CHECK(contains(fault(kPromptsSection, 1, std::uint32_t{3}), "row 2 has tokens 5 to 7, 3 of them prompt"));
  CHECK(contains(fault(kPromptsSection, 0, std::uint32_t{0}), "row 1 has tokens 0 to 5, 0 of them prompt"));
  CHECK(contains(fault(kTokensSection, 3, std::int32_t{-1}), "it has ids outside its vocabulary of 70000"));
  CHECK(contains(fault(kTokensSection, 3, kWideVocab), "it has ids outside its vocabulary of 70000"));
}

TEST_CASE("a writer that is not finished leaves no file") {
  const test::TemporaryFolder folder;
  {
    TokenFileWriter writer(folder / "rows.lztok", {1, 2, 3, 8}, 100);
    writer.add({{1, 2}, 1, false});
    CHECK(contains(message_of([&] { writer.add({{1, 100}, 1, false}); }), "outside the vocabulary of 100"));
  }
  CHECK(fs::is_empty(folder.path()));
}

TEST_CASE("copying a row to a destination of another size is an error") {
  const test::TemporaryFolder folder;
  write_token_file(folder / "rows.lztok", kRows);
  const TokenFile file(folder / "rows.lztok");
  std::vector<std::int32_t> tokens(4);
  CHECK(message_of([&] { file.copy_row(0, tokens); }) == "row 0 has 5 tokens, the destination 4");
}

}  // namespace llama_zero
