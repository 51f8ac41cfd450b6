#include <doctest/doctest.h>

#include <fstream>

#include "core/error.h"
#include "launcher/metrics.h"
#include "launcher/resume.h"
#include "launcher/save_interval.h"
#include "tests/support/temporary_folder.h"

using namespace llama_zero;
using llama_zero::test::TemporaryFolder;

TEST_CASE("a save interval is steps, a time, or none") {
  CHECK(parse_save_interval("500").steps == 500);
  CHECK(parse_save_interval("500").seconds == 0.0);
  CHECK(parse_save_interval("90s").seconds == 90.0);
  CHECK(parse_save_interval("30m").seconds == 1800.0);
  CHECK(parse_save_interval("1.5h").seconds == 5400.0);
  for (const char* never : {"none", "0"}) {
    CHECK(parse_save_interval(never).steps == 0);
    CHECK(parse_save_interval(never).seconds == 0.0);
  }
  for (const char* wrong : {"", "m", "-5", "2.5", "5 m", "5d", "1e300", "nan", "inf", "500steps"}) {
    CAPTURE(wrong);
    CHECK_THROWS_AS(parse_save_interval(wrong), Error);
  }
}

TEST_CASE("a run's position comes back as it was written") {
  RunPosition position;
  position.steps = 12;
  position.skipped = 1;
  position.samples = 384;
  position.tokens = 1234567890123;
  position.padded_tokens = 5;
  position.first_loss = 0.1;
  position.epoch = 2;
  position.row_in_epoch = 96;
  position.data_hash = 0xffffffffffffffffU;
  position.tokenizer_hash = 7;
  position.seed = 42;
  position.model_folder = "/models/\"é";
  CHECK(parse_run_position(format_run_position(position), "m") == position);
}

TEST_CASE("a run's position that is damaged is refused by field") {
  const std::string good = format_run_position(RunPosition{});
  const auto message = [&](const std::string& from, const std::string& to) -> std::string {
    std::string text = good;
    const std::size_t at = text.find(from);
    REQUIRE(at != std::string::npos);
    text.replace(at, from.size(), to);
    try {
      parse_run_position(text, "m");
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  CHECK(message("\"steps\":0", "\"steps\":-1") == "m: run.steps is no count");
  CHECK(message("\"steps\":0", "\"steps\":\"0\"") == "m: run.steps is no count");
  CHECK(message("\"steps\":0", "\"steps\":18446744073709551615") == "m: run.steps is no count");
  CHECK(message("\"steps\":0", "\"stops\":0") == "m: run.steps is missing");
  CHECK(message("\"seed\":0", "\"seed\":-1") == "m: run.seed is no unsigned number");
  CHECK(message("\"model_folder\":\"\"", "\"model_folder\":7") == "m: run.model_folder is no string");
  CHECK_THROWS_AS(parse_run_position("[]", "m"), Error);
}

TEST_CASE("what may change the numbers of a run is listed, what only shows or places them is not") {
  const std::vector<std::string> lines = config_differences(
      R"({"zero_optimization": {"stage": 2}, "steps_per_print": 1, "bf16": {"enabled": true}, "llama_zero": {"output": "a"}})",
      R"({"zero_optimization": {"stage": 3}, "steps_per_print": 2, "fp16": {"enabled": true}, "llama_zero": {"output": "b"}})");
  CHECK(lines == std::vector<std::string>{"bf16.enabled: true -> absent", "fp16.enabled: absent -> true",
                                          "zero_optimization.stage: 2 -> 3"});
}

TEST_CASE("a checkpoint belongs to the run around its folder") {
  CHECK(*run_of_checkpoint("/data/runs/a/checkpoints/step-00000003") == "/data/runs/a");
  CHECK_FALSE(run_of_checkpoint("/data/saved/step-00000003").has_value());
}

TEST_CASE("metrics of a resumed run keep the steps behind it and drop those made in vain") {
  const TemporaryFolder folder;
  const fs::path path = folder / "metrics.jsonl";
  std::ofstream(path) << "{\"step\":1}\n{\"step\":2}\nnonsense\n{\"step\":3}\n{\"ste";
  StepReport report;
  report.step = 3;
  {
    MetricsFile file(path, 2);
    file.write(report);
  }
  const MappedFile file(path);
  CHECK(file.text().starts_with("{\"step\":1}\n{\"step\":2}\n{\"step\":3,\"loss\""));
}
