#include <doctest/doctest.h>

#include <string>

#include "tests/program/program.h"

namespace llama_zero::test {
namespace {

/// The losses of metrics.jsonl, to the last bit.
std::vector<double> losses(const fs::path& run) {
  std::vector<double> values;
  for (const nlohmann::json& step : read_json_lines(run / "metrics.jsonl")) values.push_back(step.at("loss"));
  return values;
}

Outcome train(const TemporaryFolder& folder, const std::string& name, int ranks, int stage) {
  const std::string set = "zero_optimization.stage=" + std::to_string(stage);
  RunOptions options;
  options.ranks = ranks;
  return run_program(tiny_run(folder, name, 3, {"--precision", "fp32", "--set", set}), options);
}

}  // namespace

TEST_CASE("training on one rank leaves config, metrics and a model folder") {
  const TemporaryFolder folder;
  const Outcome outcome = run_program(tiny_run(folder, "run", 3));
  INFO(outcome.out << outcome.err);
  REQUIRE(outcome.exit_code == 0);
  CHECK(outcome.err == "");
  const fs::path run = folder.path() / "run";
  for (const char* name : {"config.json", "generation_config.json", "model.safetensors", "tokenizer.model"}) {
    INFO(name);
    CHECK(fs::file_size(run / "final" / name) > 0);
  }
  const auto config = nlohmann::json::parse(read_text(run / "config.json"));
  CHECK(config.at("llama_zero").at("max_steps") == 3);
  CHECK(outcome.out.find("step 3/3 | loss ") != std::string::npos);
  CHECK(outcome.out.find("total") != std::string::npos);
}

TEST_CASE("metrics.jsonl has one object a step with counters that add up") {
  const TemporaryFolder folder;
  REQUIRE(run_program(tiny_run(folder, "run", 4, {"--set", "train_batch_size=16"})).exit_code == 0);
  const auto steps = read_json_lines(folder.path() / "run" / "metrics.jsonl");
  REQUIRE(steps.size() == 4);
  for (std::size_t i = 0; i < steps.size(); ++i) {
    CHECK(steps[i].at("step") == i + 1);
    for (const char* key : {"loss", "lr", "grad_norm", "loss_scale", "tokens_per_s", "step_ms"}) {
      INFO(key);
      CHECK(steps[i].contains(key));
    }
    CHECK(steps[i].at("skipped").is_boolean());
    CHECK(steps[i].at("mem_peak_bytes") > 0);
  }
  // 40 rows in batches of 16: 16, 16, 8, then the next epoch.
  CHECK(steps[0].at("samples") == 16);
  CHECK(steps[2].at("samples") == 40);
  CHECK(steps[2].at("epoch") == 1.0);
  CHECK(steps[3].at("samples") == 56);
  CHECK(steps[3].at("tokens") > steps[2].at("tokens"));
}

TEST_CASE("two runs of one command give the same losses and the same model, bit for bit") {
  const TemporaryFolder folder;
  for (const char* name : {"a", "b"}) REQUIRE(run_program(tiny_run(folder, name, 4)).exit_code == 0);
  const std::vector<double> first = losses(folder.path() / "a");
  REQUIRE(first.size() == 4);
  CHECK(first == losses(folder.path() / "b"));
  CHECK(read_text(folder.path() / "a/final/model.safetensors") ==
        read_text(folder.path() / "b/final/model.safetensors"));
}

TEST_CASE("another seed gives other losses") {
  const TemporaryFolder folder;
  REQUIRE(run_program(tiny_run(folder, "a", 1, {"--seed", "1"})).exit_code == 0);
  REQUIRE(run_program(tiny_run(folder, "b", 1, {"--seed", "2"})).exit_code == 0);
  CHECK(losses(folder.path() / "a") != losses(folder.path() / "b"));
}

TEST_CASE("stages 0 and 3 on two ranks give the same model, and the losses of one rank") {
  const TemporaryFolder folder;
  for (const auto& [name, ranks, stage] : {std::tuple{"one", 0, 0}, {"two0", 2, 0}, {"two3", 2, 3}}) {
    // Eight rows a step on one rank are four a rank on two.
    const Outcome outcome = train(folder, name, ranks, stage);
    INFO(name << ": " << outcome.out << outcome.err);
    REQUIRE(outcome.exit_code == 0);
  }
  CHECK(losses(folder.path() / "two0") == losses(folder.path() / "two3"));
  CHECK(read_text(folder.path() / "two0/final/model.safetensors") ==
        read_text(folder.path() / "two3/final/model.safetensors"));
  CHECK(losses(folder.path() / "two3").size() == 3);
}

TEST_CASE("--plan prints the memory table and trains nothing") {
  const TemporaryFolder folder;
  const Outcome outcome = run_program(tiny_run(folder, "run", 3, {"--plan"}));
  INFO(outcome.out << outcome.err);
  CHECK(outcome.exit_code == 0);
  for (const char* label : {"weights", "gradients", "optimizer", "activations", "workspace"}) {
    INFO(label);
    CHECK(outcome.out.find(label) != std::string::npos);
  }
  CHECK(!fs::exists(folder.path() / "run"));
}

TEST_CASE("without model and data the bundled ones train, and the program says so") {
  const TemporaryFolder folder;
  const Outcome outcome = run_program({"--max-steps", "1", "--output", folder / "run"});
  INFO(outcome.out << outcome.err);
  REQUIRE(outcome.exit_code == 0);
  CHECK(outcome.out.find("tiny") != std::string::npos);
  CHECK(outcome.out.find("bundled sample") != std::string::npos);
}

TEST_CASE("runs without --output get numbered folders") {
  const TemporaryFolder folder;
  write_text(folder / "d.jsonl", alpaca_rows(8));
  RunOptions options;
  options.folder = folder.path();
  for (int i = 0; i < 2; ++i) {
    REQUIRE(run_program({"--model", "tiny", "--data", "d.jsonl", "--max-steps", "1"}, options).exit_code == 0);
  }
  int folders = 0;
  for (const auto& entry : fs::directory_iterator(folder.path() / "runs"))
    folders += fs::exists(entry.path() / "final");
  CHECK(folders == 2);
}

TEST_CASE("a trained folder is fine-tuned further, from its own weights") {
  const TemporaryFolder folder;
  REQUIRE(run_program(
              tiny_run(folder, "first", 3,
                       {"--precision", "fp32", "--set", "optimizer={\"type\":\"AdamW\",\"params\":{\"lr\":0.002}}"}))
              .exit_code == 0);
  const std::string data = folder / "train.jsonl";
  const Outcome outcome = run_program({"--model", folder / "first/final", "--data", data, "--output", folder / "second",
                                       "--max-steps", "1", "--precision", "fp32"});
  INFO(outcome.out << outcome.err);
  REQUIRE(outcome.exit_code == 0);
  CHECK(losses(folder.path() / "second").front() < losses(folder.path() / "first").front());
}

TEST_CASE("eval data gives a loss at the end") {
  const TemporaryFolder folder;
  write_text(folder / "held.jsonl", alpaca_rows(10));
  const Outcome outcome = run_program(tiny_run(folder, "run", 1, {"--eval-data", folder / "held.jsonl"}));
  INFO(outcome.out << outcome.err);
  CHECK(outcome.exit_code == 0);
  CHECK(outcome.out.find("eval loss ") != std::string::npos);
}

}  // namespace llama_zero::test
