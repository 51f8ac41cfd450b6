// Runs whose gradients overflow: every skip is told, and a run that cannot go on leaves its weights.
#include <doctest/doctest.h>

#include <string>

#include "tests/program/program.h"

namespace llama_zero::test {
namespace {

/// fp16 whose scale of 2^40 overflows at once; `more` settings decide what follows.
Outcome overflowing_run(const TemporaryFolder& folder, int steps, int ranks, const std::vector<std::string>& more) {
  std::vector<std::string> arguments =
      tiny_run(folder, "run", steps,
               {"--precision", "fp16", "--set", "fp16.initial_scale_power=40", "--set", "train_batch_size=8"});
  for (const std::string& setting : more) {
    arguments.emplace_back("--set");
    arguments.push_back(setting);
  }
  RunOptions options;
  options.ranks = ranks;
  return run_program(arguments, options);
}

std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

}  // namespace

TEST_CASE("an overflow at the smallest scale saves the weights so far, names the tensor and ends all ranks with 1") {
  const TemporaryFolder folder;
  const Outcome outcome = overflowing_run(
      folder, 5, 2, {"fp16.min_loss_scale=549755813888", "fp16.hysteresis=1", "zero_optimization.stage=2"});
  INFO(outcome.out << outcome.err);
  CHECK(outcome.exit_code == 1);
  // 2^40 falls to 2^39 at step 1; step 2 overflows there. Step 3 was given before that was known, and counts for
  // nothing.
  REQUIRE(error_lines(outcome.err).size() == 1);
  const std::string message = error_lines(outcome.err).front();
  CHECK(message.find("step 2: the loss scale is already at its minimum") != std::string::npos);
  CHECK(message.find("(first in ") != std::string::npos);
  CHECK(message.find("Use bf16") != std::string::npos);
  CHECK(read_json_lines(folder.path() / "run" / "metrics.jsonl").size() == 2);
  CHECK(fs::file_size(folder.path() / "run" / "final" / "model.safetensors") > 0);
}

TEST_CASE("every skipped step gets a line that says why") {
  const TemporaryFolder folder;
  const Outcome outcome = overflowing_run(folder, 4, 0, {});
  INFO(outcome.out << outcome.err);
  CHECK(outcome.exit_code == 0);
  CHECK(count_of(outcome.out, "SKIPPED: gradients not finite, next scale") == 4);
  for (const nlohmann::json& step : read_json_lines(folder.path() / "run" / "metrics.jsonl")) {
    CHECK(step.at("skipped") == true);
  }
}

}  // namespace llama_zero::test
