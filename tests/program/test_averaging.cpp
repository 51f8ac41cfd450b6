// loss_average from the command line to metrics.jsonl.
#include <doctest/doctest.h>

#include <cmath>
#include <string>

#include "tests/program/program.h"

namespace llama_zero::test {
namespace {

double first_loss(const TemporaryFolder& folder, const std::string& name, const std::string& average, bool coalesce) {
  const std::vector<std::string> arguments =
      tiny_run(folder, name, 1,
               {"--precision", "fp32", "--set", "train_batch_size=8", "--set", "train_micro_batch_size_per_gpu=1",
                "--set", "llama_zero.train_on_prompt=true", "--set", "llama_zero.loss_average=" + average, "--set",
                std::string("llama_zero.coalesce=") + (coalesce ? "true" : "false")});
  const Outcome outcome = run_program(arguments);
  INFO(outcome.out << outcome.err);
  REQUIRE(outcome.exit_code == 0);
  return read_json_lines(folder.path() / name / "metrics.jsonl").at(0).at("loss");
}

}  // namespace

TEST_CASE("the loss is the mean that loss_average names") {
  const TemporaryFolder folder;
  const double by_token = first_loss(folder, "token", "token", true);
  const double by_micro_batch = first_loss(folder, "micro", "micro_batch", true);
  const double literal = first_loss(folder, "literal", "micro_batch", false);
  INFO(by_token << ", " << by_micro_batch << ", " << literal);
  CHECK(std::abs(by_micro_batch / literal - 1.0) < 1e-6);
  CHECK(std::abs(by_token / by_micro_batch - 1.0) > 1e-6);
}

}  // namespace llama_zero::test
