// Keys of the "llama_zero" section and of the batch triad, seen from outside: two values, two different runs.
#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/program/program.h"

namespace llama_zero::test {
namespace {

struct Seen {
  Outcome outcome;
  std::vector<nlohmann::json> steps;
};

/// A run of the tiny model in fp32 on 40 sums, one step, unless `more` says otherwise.
Seen run(const TemporaryFolder& folder, const std::string& name, const std::vector<std::string>& more) {
  if (!fs::exists(folder.path() / "sums.jsonl")) write_text(folder / "sums.jsonl", alpaca_rows(40));
  std::vector<std::string> arguments = {"--model", "tiny", "--output", folder / name, "--precision", "fp32"};
  const auto unless_given = [&](const char* flag, const std::string& value) {
    if (std::find(more.begin(), more.end(), flag) == more.end()) arguments.insert(arguments.end(), {flag, value});
  };
  unless_given("--data", folder / "sums.jsonl");
  unless_given("--max-steps", "1");
  arguments.insert(arguments.end(), more.begin(), more.end());
  Seen seen;
  seen.outcome = run_program(arguments);
  INFO(seen.outcome.out << seen.outcome.err);
  REQUIRE(seen.outcome.exit_code == 0);
  seen.steps = read_json_lines(folder.path() / name / "metrics.jsonl");
  REQUIRE(!seen.steps.empty());
  return seen;
}

bool has(const Outcome& outcome, const std::string& text) { return outcome.out.find(text) != std::string::npos; }

double first(const Seen& seen, const char* key) { return seen.steps.front().at(key); }

}  // namespace

TEST_CASE("the rows of a run are those of its data") {
  const TemporaryFolder folder;
  std::string others;
  for (int i = 0; i < 12; ++i)
    others += R"({"instruction": "Say it.", "input": "", "output": "it"})"
              "\n";
  write_text(folder / "others.jsonl", others);
  const Seen sums = run(folder, "sums", {});
  const Seen said = run(folder, "said", {"--data", folder / "others.jsonl"});
  CHECK(first(sums, "loss") != first(said, "loss"));
  // Eight rows: of 40 a fifth of an epoch, of 12 two thirds.
  CHECK(first(sums, "epoch") == doctest::Approx(8.0 / 40.0));
  CHECK(first(said, "epoch") == doctest::Approx(8.0 / 12.0));
}

TEST_CASE("a run reads the tokenizer that it is given") {
  const TemporaryFolder folder;
  const Seen bundled = run(folder, "bundled", {});
  fs::copy(folder.path() / "bundled/final/tokenizer.model", folder.path() / "mine.model");
  const Seen given = run(folder, "given", {"--tokenizer", folder / "mine.model"});
  CHECK(has(given.outcome, folder / "mine.model"));
  CHECK(!has(bundled.outcome, folder / "mine.model"));
  write_text(folder / "broken.model", "not a tokenizer");
  const Outcome broken = run_program(tiny_run(folder, "x", 1, {"--tokenizer", folder / "broken.model"}));
  CHECK(broken.exit_code != 0);
  CHECK(broken.err.find("broken.model") != std::string::npos);
}

TEST_CASE("longer examples are cut at sequence_length") {
  const TemporaryFolder folder;
  const Seen whole = run(folder, "whole", {"--train-on-prompt"});
  const Seen cut = run(folder, "cut", {"--train-on-prompt", "--sequence-length", "10"});
  CHECK(first(whole, "tokens") > 8 * 10);
  CHECK(first(cut, "tokens") == 8 * 10);
}

TEST_CASE("epochs and max_steps decide how many steps a run takes") {
  const TemporaryFolder folder;
  const std::vector<std::string> batch = {"--set", "train_batch_size=20"};
  const auto steps_with = [&](const std::string& name, std::vector<std::string> more) {
    more.insert(more.end(), batch.begin(), batch.end());
    return run(folder, name, more).steps.size();
  };
  CHECK(steps_with("one", {"--max-steps", "0", "--epochs", "1"}) == 2);
  CHECK(steps_with("half", {"--max-steps", "0", "--epochs", "0.5"}) == 1);
  CHECK(steps_with("three", {"--max-steps", "3", "--epochs", "1"}) == 3);
}

TEST_CASE("output and run_name decide where a run leaves its files") {
  const TemporaryFolder folder;
  write_text(folder / "d.jsonl", alpaca_rows(8));
  RunOptions options;
  options.folder = folder.path();
  const std::vector<std::string> base = {"--model", "tiny", "--data", "d.jsonl", "--max-steps", "1"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), base.begin(), base.end());
    return run_program(more, options).exit_code;
  };
  REQUIRE(with({"--run-name", "mine"}) == 0);
  CHECK(fs::exists(folder.path() / "runs/mine/final"));
  REQUIRE(with({"--output", "there"}) == 0);
  CHECK(fs::exists(folder.path() / "there/final"));
}

TEST_CASE("the device of a run is the one asked for, or an error") {
  const TemporaryFolder folder;
  const Seen cpu = run(folder, "cpu", {"--device", "cpu"});
  CHECK(has(cpu.outcome, "CPU ("));
  const Outcome cuda = run_program(tiny_run(folder, "cuda", 1, {"--device", "cuda"}));
  const bool ran = cuda.exit_code == 0 && has(cuda, "GPU 0");
  const bool refused = cuda.exit_code != 0 && cuda.err.find("CUDA") != std::string::npos;
  INFO(cuda.out << cuda.err);
  CHECK(ran != refused);
}

TEST_CASE("coalescing and its token limit decide the passes of a step") {
  const TemporaryFolder folder;
  const std::vector<std::string> triad = {"--set", "train_batch_size=40", "--set", "gradient_accumulation_steps=4"};
  const auto with = [&](const std::string& name, std::vector<std::string> more) {
    more.insert(more.end(), triad.begin(), triad.end());
    return run(folder, name, more);
  };
  const Seen literal = with("literal", {"--no-coalesce"});
  const Seen coalesced = with("coalesced", {});
  const Seen limited = with("limited", {"--max-tokens-per-pass", "256"});
  CHECK(has(literal.outcome, "one a micro-batch"));
  CHECK(has(coalesced.outcome, "at most 1 of"));
  CHECK(has(limited.outcome, "of at most 256 tokens"));
  // The passes hold the same rows: sums in another order, fewer activations at a time.
  for (const Seen* other : {&literal, &limited}) {
    CHECK(first(*other, "loss") == doctest::Approx(first(coalesced, "loss")).epsilon(1e-5));
    CHECK(first(*other, "mem_peak_bytes") < first(coalesced, "mem_peak_bytes"));
  }
}

TEST_CASE("training on the prompt adds its tokens to the loss") {
  const TemporaryFolder folder;
  const Seen answers = run(folder, "answers", {});
  const Seen all = run(folder, "all", {"--train-on-prompt"});
  CHECK(first(answers, "tokens") == first(all, "tokens"));
  CHECK(first(answers, "loss") != first(all, "loss"));
}

TEST_CASE("smaller logits chunks take less memory and give the same loss") {
  const TemporaryFolder folder;
  const std::vector<std::string> batch = {"--set", "train_batch_size=40", "--set",
                                          "activation_checkpointing.mode=full"};
  const auto with = [&](const std::string& chunk) {
    std::vector<std::string> more = {"--logits-chunk", chunk};
    more.insert(more.end(), batch.begin(), batch.end());
    return run(folder, "chunk" + chunk, more);
  };
  const Seen large = with("4096");
  const Seen small = with("64");
  CHECK(first(small, "mem_peak_bytes") < first(large, "mem_peak_bytes"));
  CHECK(first(small, "loss") == doctest::Approx(first(large, "loss")).epsilon(1e-6));
}

TEST_CASE("the triad decides rows of a step and of a pass") {
  const TemporaryFolder folder;
  const auto with = [&](const std::string& name, const std::vector<std::string>& sets) {
    std::vector<std::string> more = {"--no-coalesce"};
    for (const std::string& set : sets) more.insert(more.end(), {"--set", set});
    return run(folder, name, more);
  };
  const Seen eight = with("8", {"train_batch_size=8"});
  const Seen forty = with("40", {"train_batch_size=40", "train_micro_batch_size_per_gpu=40"});
  CHECK(first(eight, "samples") == 8);
  CHECK(first(forty, "samples") == 40);
  const Seen small = with("small", {"train_batch_size=40", "train_micro_batch_size_per_gpu=2"});
  CHECK(first(small, "samples") == 40);
  CHECK(first(small, "mem_peak_bytes") < first(forty, "mem_peak_bytes"));
  const Seen more = with("more", {"train_micro_batch_size_per_gpu=2", "gradient_accumulation_steps=3"});
  CHECK(first(more, "samples") == 6);
}

TEST_CASE("checkpointing modes trade activation memory for the same result") {
  const TemporaryFolder folder;
  const auto with = [&](const std::string& mode) {
    return run(folder, mode, {"--set", "activation_checkpointing.mode=" + mode, "--set", "train_batch_size=40"});
  };
  const Seen none = with("none");
  const Seen selective = with("selective");
  const Seen full = with("full");
  CHECK(first(none, "loss") == first(selective, "loss"));
  CHECK(first(none, "grad_norm") == first(selective, "grad_norm"));
  CHECK(first(none, "grad_norm") == first(full, "grad_norm"));
  CHECK(first(none, "mem_peak_bytes") > first(selective, "mem_peak_bytes"));
  CHECK(first(selective, "mem_peak_bytes") > first(full, "mem_peak_bytes"));
}

TEST_CASE("--print-config prints each value with its origin and trains nothing") {
  const TemporaryFolder folder;
  const Outcome outcome = run_program(tiny_run(folder, "run", 3, {"--print-config", "--set", "train_batch_size=8"}));
  INFO(outcome.out << outcome.err);
  CHECK(outcome.exit_code == 0);
  CHECK(has(outcome, "train_batch_size"));
  CHECK(has(outcome, "--set"));
  CHECK(has(outcome, "--max-steps"));
  CHECK(has(outcome, "default"));
  CHECK(!fs::exists(folder.path() / "run"));
}

TEST_CASE("--help-config --markdown prints the page of all keys") {
  const Outcome outcome = run_program({"--help-config", "--markdown"});
  CHECK(outcome.exit_code == 0);
  CHECK(outcome.out.starts_with("# The config\n"));
  CHECK(has(outcome, "| `reduce_bucket_size` |"));
  CHECK(run_program({"--markdown"}).exit_code != 0);
}

}  // namespace llama_zero::test
