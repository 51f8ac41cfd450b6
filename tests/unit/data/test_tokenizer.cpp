#include <doctest/doctest.h>

#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "data/encode.h"
#include "data/prompt_template.h"
#include "data/tokenizer.h"
#include "data_fixtures.h"

namespace llama_zero {

using test::contains;
using test::message_of;
using test::sample_tokenizer;

TEST_CASE("text comes back from its tokens, spelled in bytes where no piece fits") {
  const Tokenizer tokenizer = sample_tokenizer();
  for (const std::string text : {"What is 12 + 7?", "two  spaces\nand a line", "\u00e9\u20ac\U0001F600 z", ""}) {
    CAPTURE(text);
    const auto ids = tokenizer.encode(text);
    CHECK(tokenizer.decode(ids) == text);
    for (const std::int32_t id : ids) CHECK((id >= 0 && id < tokenizer.vocab_size()));
  }
}

TEST_CASE("decoding drops BOS and EOS and survives ids outside the vocabulary") {
  const Tokenizer tokenizer = sample_tokenizer();
  std::vector<std::int32_t> ids = tokenizer.encode("seven");
  ids.insert(ids.begin(), tokenizer.bos_id());
  ids.push_back(tokenizer.eos_id());
  CHECK(tokenizer.decode(ids) == "seven");
  const std::vector<std::int32_t> unknown = {tokenizer.unk_id()};
  const std::vector<std::int32_t> outside = {tokenizer.vocab_size() + 5};
  const std::vector<std::int32_t> negative = {-1};
  CHECK(tokenizer.decode(outside) == tokenizer.decode(unknown));
  CHECK(tokenizer.decode(negative) == tokenizer.decode(unknown));
}

TEST_CASE("control symbols written in text are text") {
  const Tokenizer tokenizer = sample_tokenizer();
  for (const std::int32_t id : tokenizer.encode("a</s><s>b")) {
    CHECK(id != tokenizer.eos_id());
    CHECK(id != tokenizer.bos_id());
  }
}

TEST_CASE("the fingerprint is the hash of the file's bytes") {
  const test::TemporaryFolder folder;
  const Tokenizer tokenizer = sample_tokenizer();
  CHECK(tokenizer.fingerprint() == hash_text(test::read_file(tokenizer.path())));
  fs::copy_file(tokenizer.path(), folder / "copy.model");
  CHECK(Tokenizer(folder / "copy.model").fingerprint() == tokenizer.fingerprint());
}

TEST_CASE("a tokenizer that is missing, foreign, cut off or empty is named") {
  const test::TemporaryFolder folder;
  CHECK(contains(message_of([&] { Tokenizer(folder / "none.model"); }), "none.model: No such file"));
  const std::string model = test::read_file(sample_tokenizer().path());
  const std::vector<std::pair<std::string, std::string>> files = {
      {"json.model", R"({"model": "bpe"})"}, {"cut.model", model.substr(0, model.size() / 2)}, {"empty.model", ""}};
  for (const auto& [name, bytes] : files) {
    test::write_file(folder / name, bytes);
    CHECK(message_of([&] { Tokenizer(folder / name); }) ==
          fmt::format("{} is not a SentencePiece model; give the tokenizer.model of the Llama model",
                      (folder / name).string()));
  }
}

TEST_CASE("a row is BOS, prompt, output, EOS, with prompt and output encoded apart") {
  const Tokenizer tokenizer = sample_tokenizer();
  AlpacaRow row;
  row.instruction = "What is 2 + 3?";
  row.output = "five";
  EncodedRow encoded;
  encode_row(tokenizer, row, 4096, encoded);
  std::vector<std::int32_t> expected = {tokenizer.bos_id()};
  tokenizer.encode(format_prompt(row.instruction, ""), expected);
  CHECK(encode_prompt(tokenizer, row.instruction, row.input) == expected);
  CHECK(encoded.prompt_tokens == static_cast<std::int64_t>(expected.size()));
  tokenizer.encode(row.output, expected);
  expected.push_back(tokenizer.eos_id());
  CHECK(encoded.tokens == expected);
  CHECK_FALSE(encoded.truncated);
}

TEST_CASE("a row longer than max_tokens keeps its first tokens, one that fits exactly is whole") {
  const Tokenizer tokenizer = sample_tokenizer();
  AlpacaRow row;
  row.instruction = "Count.";
  row.output = "1 2 3 4 5 6 7 8";
  EncodedRow whole;
  encode_row(tokenizer, row, 4096, whole);
  const auto count = static_cast<std::int64_t>(whole.tokens.size());
  EncodedRow cut;
  encode_row(tokenizer, row, count, cut);
  CHECK_FALSE(cut.truncated);
  CHECK(cut.tokens == whole.tokens);
  encode_row(tokenizer, row, count - 1, cut);
  CHECK(cut.truncated);
  CHECK(cut.tokens == std::vector<std::int32_t>(whole.tokens.begin(), whole.tokens.end() - 1));
  CHECK(cut.prompt_tokens == whole.prompt_tokens);
  encode_row(tokenizer, row, 3, cut);
  CHECK(cut.prompt_tokens == 3);
  CHECK(message_of([&] { encode_row(tokenizer, row, 1, cut); }) == "a row needs at least 2 tokens, not 1");
}

TEST_CASE("many rows encoded together equal each alone") {
  const Tokenizer tokenizer = sample_tokenizer();
  std::vector<AlpacaRow> rows(100);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    rows[i].instruction = fmt::format("What is {} + 1?", i);
    rows[i].output = fmt::format("{}", i + 1);
  }
  std::vector<EncodedRow> together;
  encode_rows(tokenizer, rows, 512, together);
  REQUIRE(together.size() == rows.size());
  EncodedRow alone;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    encode_row(tokenizer, rows[i], 512, alone);
    CHECK(together[i].tokens == alone.tokens);
    CHECK(together[i].prompt_tokens == alone.prompt_tokens);
  }
  CHECK(message_of([&] { encode_rows(tokenizer, rows, 1, together); }) == "a row needs at least 2 tokens, not 1");
}

}  // namespace llama_zero
