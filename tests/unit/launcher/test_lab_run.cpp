#include <doctest/doctest.h>

#include <string>

#include "core/error.h"
#include "launcher/lab/lab_run.h"
#include "tests/support/temporary_folder.h"
#include "tests/unit/launcher/lab_folder.h"

namespace llama_zero::lab {
namespace {

using test::TemporaryFolder;
using test::write_lab_file;
using test::write_lab_run;

std::string message_of(const fs::path& folder) {
  try {
    read_runs(folder);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("a run of the lab is read from config, summary and metrics") {
  const TemporaryFolder folder;
  write_lab_run(folder / "one",
                {.stage = 2, .ranks = 4, .micro = 3, .accumulation = 8, .offload = true, .overlap = true});
  const std::vector<Run> runs = read_runs(folder.path());
  REQUIRE(runs.size() == 1);
  const Run& run = runs.front();
  CHECK(run.name == "one");
  CHECK(run.command == "llama_zero --set a<b");
  CHECK(run.stage == 2);
  CHECK(run.ranks == 4);
  CHECK(run.micro_batch == 3);
  CHECK(run.accumulation == 8);
  CHECK(run.offload_optimizer);
  CHECK_FALSE(run.offload_param);
  CHECK(run.overlap);
  CHECK(run.planned.labels.at("weights") == 500);
  CHECK(run.steps.size() == 5);
  CHECK(stage_name(run) == "ZeRO-2 + offload");
}

TEST_CASE("speed leaves out the two steps that warm up") {
  const TemporaryFolder folder;
  write_lab_run(folder / "one", {.tokens_per_second = 1234.0});
  const Run run = read_runs(folder.path()).front();
  CHECK(tokens_per_second(run) == doctest::Approx(1234.0));
  CHECK(median_step_ms(run) == doctest::Approx(10.0));
}

TEST_CASE("communication and waiting are shares of the time of the steps that count") {
  const TemporaryFolder folder;
  write_lab_run(folder / "a", {.comm_ms = 2.5, .wait_ms = 1.0, .gathered = 1000});
  const Run run = read_runs(folder.path()).front();
  CHECK(communication_percent(run) == doctest::Approx(25.0));
  CHECK(waiting_percent(run) == doctest::Approx(10.0));
  CHECK(bytes_a_step(run, run.collectives) == doctest::Approx(200.0));
  CHECK(run.collectives.at("all_gather").wait_ms == doctest::Approx(2.5));
  CHECK(bytes_a_step(run, run.copies) == doctest::Approx(1e6));
}

TEST_CASE("of two or three steps the first warms up, of one none") {
  Run run;
  const auto count = [&](int steps) {
    run.steps.resize(static_cast<std::size_t>(steps));
    return warm_steps(run).size();
  };
  CHECK(count(0) == 0);
  CHECK(count(1) == 1);
  CHECK(count(2) == 1);
  CHECK(count(3) == 2);
  CHECK(count(4) == 2);
}

TEST_CASE("host memory is that of runs which offloaded, and nothing elsewhere") {
  const TemporaryFolder folder;
  write_lab_run(folder / "a", {.offload = true, .host = 4000});
  write_lab_run(folder / "b", {});
  const std::vector<Run> runs = read_runs(folder.path());
  CHECK(runs[0].planned_host.peak_bytes == 4000);
  CHECK(runs[0].measured_host.labels.at("weights") == 2000);
  CHECK(runs[1].planned_host.peak_bytes == 0);
}

TEST_CASE("a run that did not fit has the plan of its words") {
  const TemporaryFolder folder;
  write_lab_file(folder / "one" / "command.txt", "mpirun -np 4 llama_zero\n");
  write_lab_file(folder / "one" / "failed.txt", "does not fit\n");
  write_lab_file(folder / "one" / "words.txt",
                 "4\n--model\nllama2-7b\n--device\ncpu\n--precision\nfp16\n--micro-batch\n2\n--set\n"
                 "gradient_accumulation_steps=8\n--set\nzero_optimization.stage=3\n");
  write_lab_file(folder / "two" / "command.txt", "llama_zero\n");
  write_lab_file(folder / "two" / "failed.txt", "no such key\n");
  write_lab_file(folder / "two" / "words.txt", "1\n--no-such-flag\n");
  const std::vector<Run> runs = read_runs(folder.path());
  REQUIRE(runs.size() == 2);
  CHECK_FALSE(runs[0].finished());
  CHECK(runs[0].ranks == 4);
  CHECK(runs[0].stage == 3);
  CHECK(runs[0].micro_batch == 2);
  CHECK(runs[0].accumulation == 8);
  // As the run would have been: with the vocabulary of the bundled tokenizer in place of 32,000 pieces.
  CHECK(runs[0].parameters < 6500000000);
  CHECK(runs[0].parameters > 6476271616);
  CHECK(static_cast<double>(runs[0].planned.peak_bytes) > 4.0 * static_cast<double>(runs[0].parameters));
  CHECK(runs[0].measured.peak_bytes == 0);
  CHECK(runs[1].planned.peak_bytes == 0);
}

TEST_CASE("a run that failed is read with its reason and nothing else") {
  const TemporaryFolder folder;
  write_lab_file(folder / "one" / "command.txt", "llama_zero\n");
  write_lab_file(folder / "one" / "failed.txt", "out of memory\n");
  const std::vector<Run> runs = read_runs(folder.path());
  REQUIRE(runs.size() == 1);
  CHECK(runs.front().failure == "out of memory");
  CHECK(runs.front().steps.empty());
  CHECK(read_runs(folder / "nothing").empty());
}

TEST_CASE("a damaged file of a run is named") {
  const TemporaryFolder folder;
  write_lab_run(folder / "one", {});
  write_lab_file(folder / "one" / "summary.json", "{\"model\": 3}");
  CHECK(message_of(folder.path()).find("one/summary.json") != std::string::npos);
  write_lab_run(folder / "one", {});
  write_lab_file(folder / "one" / "metrics.jsonl", "{\"step\":1");
  CHECK(message_of(folder.path()).find("one/metrics.jsonl") != std::string::npos);
}

TEST_CASE("a run that was cut off is one that did not finish") {
  const TemporaryFolder folder;
  write_lab_run(folder / "one", {});
  fs::remove(folder.path() / "one" / "summary.json");
  const Run run = read_runs(folder.path()).front();
  CHECK_FALSE(run.finished());
  CHECK_FALSE(run.left_out());
  CHECK(run.failure == "it was cut off before its end");
}

}  // namespace llama_zero::lab
