#include <doctest/doctest.h>

#include <string>

#include "tests/program/program.h"

namespace llama_zero::test {
namespace {

Outcome evaluate(const TemporaryFolder& folder, const std::string& json, int ranks,
                 const std::vector<std::string>& more = {}) {
  std::vector<std::string> arguments = {"eval",   "--model",     folder / "run/final", "--data", folder / "train.jsonl",
                                        "--json", folder / json, "--max-new-tokens",   "4"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  RunOptions options;
  options.ranks = ranks;
  return run_program(arguments, options);
}

}  // namespace

TEST_CASE("eval reports loss and exact match by family, the same on one rank and on three") {
  const TemporaryFolder folder;
  REQUIRE(run_program(tiny_run(folder, "run", 2)).exit_code == 0);
  const Outcome one = evaluate(folder, "one.json", 0, {"--show", "2"});
  INFO(one.out << one.err);
  REQUIRE(one.exit_code == 0);
  CHECK(one.out.find("question ") != std::string::npos);
  CHECK(one.out.find("twice") != std::string::npos);
  const Outcome three = evaluate(folder, "three.json", 3);
  INFO(three.out << three.err);
  REQUIRE(three.exit_code == 0);
  const auto a = nlohmann::json::parse(read_text(folder / "one.json"));
  const auto b = nlohmann::json::parse(read_text(folder / "three.json"));
  CHECK(a.at("rows") == 40);
  CHECK(a.at("families").at("sum").at("rows") == 20);
  CHECK(a.at("families") == b.at("families"));
  CHECK(a.at("loss_tokens") == b.at("loss_tokens"));
  CHECK(a.at("loss").get<double>() == doctest::Approx(b.at("loss").get<double>()).epsilon(1e-6));
}

TEST_CASE("eval of a preset questions random weights") {
  const TemporaryFolder folder;
  write_text(folder / "rows.jsonl", alpaca_rows(12));
  const Outcome outcome = run_program(
      {"eval", "--model", "tiny", "--data", folder / "rows.jsonl", "--json", folder / "e.json", "--limit", "6"});
  INFO(outcome.out << outcome.err);
  REQUIRE(outcome.exit_code == 0);
  const auto json = nlohmann::json::parse(read_text(folder / "e.json"));
  CHECK(json.at("rows") == 6);
  CHECK(json.at("exact_match") == 0.0);
  // Random weights are near the uniform guess, ln(vocabulary) = 6.6 for 768 pieces.
  CHECK(json.at("loss") > 6.0);
  CHECK(json.at("loss") < 7.5);
}

TEST_CASE("eval ends with exit code 1 when the wanted exact match is not reached") {
  const TemporaryFolder folder;
  write_text(folder / "rows.jsonl", alpaca_rows(6));
  for (const char* flag : {"--min-exact-match", "--min-family"}) {
    const Outcome outcome = run_program({"eval", "--model", "tiny", "--data", folder / "rows.jsonl", flag, "50"});
    CHECK(outcome.exit_code == 1);
    CHECK(error_lines(outcome.err).size() == 1);
  }
  CHECK(run_program({"eval", "--model", "tiny", "--data", folder / "rows.jsonl", "--min-family", "0"}).exit_code == 0);
}

TEST_CASE("a model that has learned its rows answers them") {
  const TemporaryFolder folder;
  write_text(folder / "train.jsonl",
             "{\"instruction\": \"Say yes.\", \"output\": \"yes\", \"family\": \"a\"}\n"
             "{\"instruction\": \"Say no.\", \"output\": \"no\", \"family\": \"b\"}\n");
  const Outcome trained = run_program(tiny_run(folder, "run", 40,
                                               {"--precision", "fp32", "--set", "train_batch_size=2", "--set",
                                                "optimizer={\"type\":\"AdamW\",\"params\":{\"lr\":0.003}}"}));
  INFO(trained.out << trained.err);
  REQUIRE(trained.exit_code == 0);
  const Outcome eval = evaluate(folder, "e.json", 0, {"--min-exact-match", "100", "--min-family", "100"});
  INFO(eval.out << eval.err);
  CHECK(eval.exit_code == 0);
  const Outcome answer = run_program({"generate", "--model", folder / "run/final", "--instruction", "Say no."});
  CHECK(answer.out == "no\n");
}

TEST_CASE("generate is deterministic, greedy or sampled with a seed") {
  const TemporaryFolder folder;
  REQUIRE(run_program(tiny_run(folder, "run", 1)).exit_code == 0);
  const std::vector<std::string> raw = {"generate",         "--model", folder / "run/final", "--prompt", "12 and",
                                        "--max-new-tokens", "8"};
  std::vector<std::string> sampled = raw;
  for (const char* word : {"--temperature", "1.0", "--top-p", "0.95", "--seed", "5"}) sampled.push_back(word);
  for (const auto& arguments : {raw, sampled}) {
    const Outcome first = run_program(arguments);
    INFO(first.out << first.err);
    REQUIRE(first.exit_code == 0);
    CHECK(first.out == run_program(arguments).out);
  }
  sampled.back() = std::string("6");
  CHECK(run_program(sampled).out != run_program(raw).out);
}

TEST_CASE("tokenize builds the token file once and says what is in it") {
  const TemporaryFolder folder;
  write_text(folder / "rows.jsonl", alpaca_rows(30));
  const std::vector<std::string> arguments = {"tokenize", "--data", folder / "rows.jsonl", "--sequence-length", "256"};
  const Outcome first = run_program(arguments);
  INFO(first.out << first.err);
  CHECK(first.exit_code == 0);
  CHECK(first.out.find("30 rows") != std::string::npos);
  const Outcome second = run_program(arguments);
  CHECK(second.exit_code == 0);
  CHECK(second.out != first.out);
}

TEST_CASE("sample writes the bundled rows as Alpaca files") {
  const TemporaryFolder folder;
  const Outcome outcome = run_program({"sample", "--output", folder / "sample"});
  INFO(outcome.out << outcome.err);
  CHECK(outcome.exit_code == 0);
  CHECK(read_json_lines(folder.path() / "sample/train.jsonl").size() >= 40000);
  CHECK(read_json_lines(folder.path() / "sample/held_out.jsonl").size() >= 300);
}

}  // namespace llama_zero::test
