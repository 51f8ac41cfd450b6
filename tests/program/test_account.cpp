// What a run says of its communication.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "tests/program/program.h"

namespace llama_zero::test {

TEST_CASE("a run accounts for its communication, step by step and in sum") {
  const TemporaryFolder folder;
  RunOptions options;
  options.ranks = 2;
  const Outcome outcome =
      run_program(tiny_run(folder, "run", 5, {"--device", "cpu", "--set", "zero_optimization.stage=1"}), options);
  INFO(outcome.out << outcome.err);
  REQUIRE(outcome.exit_code == 0);
  const auto steps = read_json_lines(folder.path() / "run/metrics.jsonl");
  REQUIRE(steps.size() == 5);
  std::int64_t bytes = 0;
  for (const auto& step : steps) {
    CHECK(step.at("comm_bytes") == steps[0].at("comm_bytes"));  // every step of stage 1 moves the same
    CHECK(step.at("comm_ms") > 0.0);
    CHECK(step.at("wait_ms") == step.at("comm_ms"));  // on the CPU nothing runs beside the computation
    CHECK(step.at("comm_ms") <= step.at("step_ms"));
    bytes += step.at("comm_bytes").get<std::int64_t>();
  }
  const auto summary = nlohmann::json::parse(read_text(folder.path() / "run/summary.json"));
  const auto& collectives = summary.at("communication");
  CHECK(collectives.at("all_gather").at("bytes").get<std::int64_t>() +
            collectives.at("all_to_all").at("bytes").get<std::int64_t>() ==
        bytes);
  // fp16: every rank's gradient goes out once a step, padding included.
  CHECK(collectives.at("all_to_all").at("bytes").get<std::int64_t>() >=
        5 * 2 * summary.at("parameters").get<std::int64_t>());
  CHECK(summary.at("host_copies").at("copy_to_host").at("calls") > 0);
  const std::size_t line = outcome.out.find("communication  all_gather ");
  REQUIRE(line != std::string::npos);
  const std::string text = outcome.out.substr(line, outcome.out.find('\n', line) - line);
  CHECK(text.find("; all_to_all ") != std::string::npos);
  CHECK(text.find(" % of the time waited") != std::string::npos);
}

TEST_CASE("a rank alone has no communication to account for") {
  const TemporaryFolder folder;
  const Outcome outcome = run_program(tiny_run(folder, "run", 2, {"--device", "cpu"}));
  INFO(outcome.out << outcome.err);
  REQUIRE(outcome.exit_code == 0);
  for (const auto& step : read_json_lines(folder.path() / "run/metrics.jsonl")) CHECK(step.at("comm_bytes") == 0);
  CHECK(outcome.out.find("communication") == std::string::npos);
}

}  // namespace llama_zero::test
