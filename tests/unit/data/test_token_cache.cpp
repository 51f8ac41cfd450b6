#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "data/encode.h"
#include "data/token_cache.h"
#include "data_fixtures.h"

namespace llama_zero {
namespace {

using test::contains;
using test::message_of;
using test::sample_tokenizer;

std::string rows_json(int count, const std::string& output = "yes") {
  std::string text;
  for (int row = 0; row < count; ++row) {
    text += fmt::format(R"({{"instruction": "Is {} a number?", "output": "{}"}})", row, output) + "\n";
  }
  return text;
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename().string());
  return names;
}

/// Runs `action` in a child process, which succeeds when it returns true.
pid_t start_child(const std::function<bool()>& action) {
  std::fflush(nullptr);  // or the child would print what waits in the buffers again
  const pid_t child = ::fork();
  if (child != 0) return child;
  bool good = false;
  try {
    good = action();
  } catch (const std::exception&) {
  }
  ::_exit(good ? 0 : 1);
}

bool succeeds(pid_t child) {
  int status = 0;
  return ::waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace

TEST_CASE("the token file holds the data's rows in order, is built once and then found") {
  const test::TemporaryFolder folder;
  const Tokenizer tokenizer = sample_tokenizer();
  test::write_file(folder / "rows.json", rows_json(3000));
  std::vector<BuildProgress> progress;
  const auto record = [&](const BuildProgress& p) { progress.push_back(p); };
  const OpenedTokenFile built = open_or_build_token_file(folder / "rows.json", tokenizer, 256, record);
  CHECK(built.built);
  CHECK(contains(built.statement, "3000 rows, "));
  CHECK(contains(built.statement, "; tokenized to " + (folder / "rows.json.").string()));
  REQUIRE(progress.size() > 1);
  CHECK(progress.back().rows == 3000);
  CHECK(progress.back().bytes_done <= progress.back().bytes_total);
  REQUIRE(built.file.rows() == 3000);
  EncodedRow expected;
  std::vector<std::int32_t> tokens;
  for (const AlpacaRow& row : read_alpaca(folder / "rows.json")) {
    encode_row(tokenizer, row, 256, expected);
    tokens.resize(static_cast<std::size_t>(built.file.row_tokens(row.number - 1)));
    built.file.copy_row(row.number - 1, tokens);
    REQUIRE(tokens == expected.tokens);
    REQUIRE(built.file.prompt_tokens(row.number - 1) == expected.prompt_tokens);
  }
  progress.clear();
  const OpenedTokenFile found = open_or_build_token_file(folder / "rows.json", tokenizer, 256, record);
  CHECK_FALSE(found.built);
  CHECK(progress.empty());
  CHECK(contains(found.statement, "; read from " + (folder / "rows.json.").string()));
  CHECK(names_in(folder.path()).size() == 2);  // no lock and no temporary file stays
}

TEST_CASE("the token file follows the data, the tokenizer and the sequence length") {
  const test::TemporaryFolder folder;
  const Tokenizer tokenizer = sample_tokenizer();
  const fs::path source = folder / "rows.json";
  test::write_file(source, rows_json(3));
  const OpenedTokenFile first = open_or_build_token_file(source, tokenizer, 256);

  test::write_file(source, rows_json(3, "no"));
  const OpenedTokenFile changed = open_or_build_token_file(source, tokenizer, 256);
  CHECK(changed.built);
  CHECK(contains(changed.statement, "tokenized because the data changed to "));
  CHECK(changed.file.path() == first.file.path());  // replaces the old one
  CHECK(changed.file.key().source_hash != first.file.key().source_hash);

  const OpenedTokenFile shorter = open_or_build_token_file(source, tokenizer, 8);
  CHECK(shorter.built);
  CHECK(shorter.file.longest_row() == 8);
  CHECK(shorter.file.truncated_rows() == 3);

  // The same pieces in another file of other bytes: a field that SentencePiece skips is appended (protobuf field 2000,
  // varint 1).
  test::write_file(folder / "other.model", test::read_file(tokenizer.path()) + std::string("\x80\x7D\x01"));
  const OpenedTokenFile other = open_or_build_token_file(source, Tokenizer(folder / "other.model"), 256);
  CHECK(other.built);
  CHECK(other.file.key().tokenizer_hash != changed.file.key().tokenizer_hash);

  CHECK_FALSE(open_or_build_token_file(source, tokenizer, 256).built);  // each setting keeps its own
  CHECK_FALSE(open_or_build_token_file(source, tokenizer, 8).built);
}

TEST_CASE("a damaged token file is rebuilt") {
  const test::TemporaryFolder folder;
  const Tokenizer tokenizer = sample_tokenizer();
  test::write_file(folder / "rows.json", rows_json(3));
  const fs::path path = open_or_build_token_file(folder / "rows.json", tokenizer, 256).file.path();
  const std::string good = test::read_file(path);
  for (const std::string& bad : {good.substr(0, 100), good.substr(0, 300) + "!" + good.substr(301), std::string()}) {
    test::write_file(path, bad);
    const OpenedTokenFile rebuilt = open_or_build_token_file(folder / "rows.json", tokenizer, 256);
    CHECK(rebuilt.built);
    CHECK(contains(rebuilt.statement, "tokenized because the one there was damaged to "));
    CHECK(test::read_file(path) == good);
  }
}

TEST_CASE("of processes that start together one builds the file, the others wait and read it") {
  const test::TemporaryFolder folder;
  const Tokenizer tokenizer = sample_tokenizer();
  test::write_file(folder / "rows.json", rows_json(2000));
  create_folder(folder / "builders");
  const auto open = [&] {
    const OpenedTokenFile opened = open_or_build_token_file(folder / "rows.json", tokenizer, 256);
    if (opened.built) test::write_file(folder / "builders" / fmt::format("{}", ::getpid()), "");
    return opened.file.rows() == 2000;
  };
  std::vector<pid_t> children;
  for (int i = 0; i < 4; ++i) children.push_back(start_child(open));
  for (const pid_t child : children) CHECK(succeeds(child));
  CHECK(names_in(folder / "builders").size() == 1);
  CHECK(names_in(folder.path()).size() == 3);  // data, token file and the folder of builders
  CHECK_FALSE(open_or_build_token_file(folder / "rows.json", tokenizer, 256).built);
}

TEST_CASE("when the data's folder cannot be written, the token file goes to the cache folder, and this is said") {
  const test::TemporaryFolder folder;
  const Tokenizer tokenizer = sample_tokenizer();
  create_folder(folder / "data");
  create_folder(folder / "cache");
  test::write_file(folder / "data" / "rows.json", rows_json(3));
  fs::permissions(folder.path(), fs::perms::all);
  fs::permissions(folder / "data", fs::perms(0555));
  fs::permissions(folder / "cache", fs::perms::all);
  // A child gives up root's rights, if it has them: root may write anywhere.
  const auto as_user = [](const std::function<bool()>& action) {
    return succeeds(start_child([&] { return (::geteuid() != 0 || ::setuid(65534) == 0) && action(); }));
  };
  CHECK(as_user([&] {
    ::setenv("XDG_CACHE_HOME", (folder / "cache").c_str(), 1);
    const OpenedTokenFile opened = open_or_build_token_file(folder / "data" / "rows.json", tokenizer, 256);
    return opened.built && opened.file.path().parent_path() == folder / "cache" / "llama_zero" &&
           contains(opened.statement, "(the data's folder cannot be written)");
  }));
  CHECK(as_user([&] {
    ::setenv("XDG_CACHE_HOME", (folder / "cache").c_str(), 1);
    return !open_or_build_token_file(folder / "data" / "rows.json", tokenizer, 256).built;
  }));
  CHECK(as_user([&] {
    ::unsetenv("XDG_CACHE_HOME");
    ::setenv("HOME", (folder / "data").c_str(), 1);
    return contains(message_of([&] { open_or_build_token_file(folder / "data" / "rows.json", tokenizer, 256); }),
                    "set XDG_CACHE_HOME to a folder that can be written");
  }));
  fs::permissions(folder / "data", fs::perms::all);
}

TEST_CASE("bad data leaves nothing behind and says why") {
  const test::TemporaryFolder folder;
  const Tokenizer tokenizer = sample_tokenizer();
  const auto fault = [&](std::int64_t max_tokens) {
    return message_of([&] { open_or_build_token_file(folder / "rows.json", tokenizer, max_tokens); });
  };
  CHECK(contains(fault(256), "rows.json: No such file or directory"));
  test::write_file(folder / "rows.json", rows_json(3) + "{\"instruction\": 1}\n");
  CHECK(contains(fault(256), "rows.json: row 4 (byte 153): \"instruction\" is a number, expected a string"));
  test::write_file(folder / "rows.json", "");
  CHECK(contains(fault(256), "rows.json: no rows: the file is empty"));
  CHECK(contains(fault(1), "the sequence length must be 2 to 2147483647, not 1"));
  CHECK(names_in(folder.path()) == std::vector<std::string>{"rows.json"});
}

TEST_CASE("a token file is built at exactly the place asked for") {
  const test::TemporaryFolder folder;
  test::write_file(folder / "rows.json", rows_json(3));
  build_token_file(folder / "rows.json", sample_tokenizer(), 256, folder / "here.lztok");
  CHECK(TokenFile(folder / "here.lztok").rows() == 3);
}

}  // namespace llama_zero
