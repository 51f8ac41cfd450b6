#include <doctest/doctest.h>

#include <string>

#include "tests/program/program.h"

namespace llama_zero::test {
namespace {

/// Runs, demands exit code 1 and exactly one line of error, and gives that line.
std::string failure(const std::vector<std::string>& arguments) {
  const Outcome outcome = run_program(arguments);
  INFO(outcome.out << outcome.err);
  CHECK(outcome.exit_code == 1);
  const auto errors = error_lines(outcome.err);
  REQUIRE(errors.size() == 1);
  return errors[0];
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

fs::path token_file(const fs::path& folder) {
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == ".lztok") return entry.path();
  }
  return {};
}

/// Trains once, damages the token file, trains again.
Outcome run_with_damage(const TemporaryFolder& folder, std::string (*damage)(std::string)) {
  REQUIRE(run_program(tiny_run(folder, "before", 1)).exit_code == 0);
  const fs::path path = token_file(folder.path());
  REQUIRE(!path.empty());
  const std::string whole = read_text(path);
  write_text(path, damage(whole));
  const Outcome outcome = run_program(tiny_run(folder, "after", 1));
  CHECK(read_text(path) == whole);
  return outcome;
}

}  // namespace

TEST_CASE("missing files are named") {
  const TemporaryFolder folder;
  CHECK(has(failure({"--data", folder / "nowhere.json"}), "nowhere.json"));
  CHECK(has(failure({"--config", folder / "nowhere.cfg"}), "nowhere.cfg"));
  CHECK(has(failure({"--tokenizer", folder / "nowhere.model"}), "nowhere.model"));
  CHECK(has(failure({"--model", folder / "nowhere"}), "neither a preset"));
  CHECK(has(failure({"eval", "--model", folder / "nowhere"}), "neither a preset"));
}

TEST_CASE("a malformed row is named by number and byte") {
  const TemporaryFolder folder;
  const std::string good = alpaca_rows(2);
  write_text(folder / "bad.jsonl", good + "{\"instruction\": \"x\", \"output\": }\n");
  const std::string error = failure({"--data", folder / "bad.jsonl", "--output", folder / "run"});
  CHECK(has(error, "row 3"));
  CHECK(has(error, "byte " + std::to_string(good.size())));
}

TEST_CASE("empty data is refused") {
  const TemporaryFolder folder;
  write_text(folder / "empty.json", "");
  CHECK(has(failure({"--data", folder / "empty.json"}), "empty.json"));
  write_text(folder / "none.json", "[]");
  CHECK(has(failure({"--data", folder / "none.json"}), "none.json"));
}

TEST_CASE("a truncated token file is rebuilt with a warning") {
  const TemporaryFolder folder;
  const Outcome outcome = run_with_damage(folder, [](std::string whole) {
    whole.resize(whole.size() / 2);
    return whole;
  });
  INFO(outcome.out << outcome.err);
  CHECK(outcome.exit_code == 0);
  CHECK(has(outcome.err, "warning"));
  CHECK(has(outcome.err, ".lztok"));
}

TEST_CASE("a token file with one flipped bit is rebuilt with a warning") {
  const TemporaryFolder folder;
  const Outcome outcome = run_with_damage(folder, [](std::string whole) {
    whole[whole.size() / 2] = static_cast<char>(whole[whole.size() / 2] ^ 1);
    return whole;
  });
  INFO(outcome.out << outcome.err);
  CHECK(outcome.exit_code == 0);
  CHECK(has(outcome.err, "warning"));
  CHECK(has(outcome.err, ".lztok"));
}

TEST_CASE("a tokenizer larger than an imported model's vocabulary is refused, both sizes named") {
  const TemporaryFolder folder;
  REQUIRE(run_program(tiny_run(folder, "run", 1)).exit_code == 0);
  const fs::path config = folder.path() / "run/final/config.json";
  auto json = nlohmann::json::parse(read_text(config));
  const int size = json.at("vocab_size");
  json["vocab_size"] = 100;
  write_text(config, json.dump());
  const std::string error =
      failure({"--model", folder / "run/final", "--data", folder / "train.jsonl", "--output", folder / "next"});
  CHECK(has(error, "has " + std::to_string(size) + " pieces"));
  CHECK(has(error, "vocabulary of 100"));
}

TEST_CASE("examples longer than the sequence are truncated, counted and reported") {
  const TemporaryFolder folder;
  std::string rows = alpaca_rows(10);
  nlohmann::json longer;
  longer["instruction"] = "Count.";
  longer["output"] = std::string(2000, '7');
  rows += longer.dump() + "\n";
  write_text(folder / "long.jsonl", rows);
  const Outcome outcome = run_program(
      {"--data", folder / "long.jsonl", "--output", folder / "run", "--max-steps", "1", "--sequence-length", "512"});
  INFO(outcome.out << outcome.err);
  CHECK(outcome.exit_code == 0);
  CHECK(has(outcome.out, "1 longer than 512 tokens were truncated"));
}

TEST_CASE("an output that cannot be written is found before training") {
  const TemporaryFolder folder;
  write_text(folder / "file", "not a folder");
  const std::string error = failure(tiny_run(folder, "file/run", 1000000));
  CHECK(has(error, "file/run"));
}

TEST_CASE("a sequence longer than an imported model's positions is refused") {
  const TemporaryFolder folder;
  REQUIRE(run_program(tiny_run(folder, "run", 1)).exit_code == 0);
  const std::string error =
      failure({"--model", folder / "run/final", "--data", folder / "train.jsonl", "--sequence-length", "100000"});
  CHECK(has(error, "sequence length 100000"));
}

TEST_CASE("an unknown flag, config key or device is one line") {
  CHECK(has(failure({"--sequence-lenght", "3"}), "--sequence-lenght"));
  CHECK(has(failure({"--set", "fp16.los_scale=3"}), "los_scale"));
  CHECK(has(failure({"--set", "llama_zero.device=tpu"}), "device"));
}

TEST_CASE("a model that cannot fit is refused before anything is allocated") {
  const TemporaryFolder folder;
  write_text(folder / "train.jsonl", alpaca_rows(4));
  const std::string error =
      failure({"--model", "llama2-13b", "--data", folder / "train.jsonl", "--output", folder / "run"});
  CHECK(has(error, "a step needs"));
  CHECK(!fs::exists(folder.path() / "run"));
}

}  // namespace llama_zero::test
