#include <doctest/doctest.h>

#include <string>

#include "tests/program/program.h"

namespace llama_zero::test {
namespace {

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// The figure of the line "  total ..." of the first table in `text`.
std::string total_of(const std::string& text) {
  const std::size_t begin = text.find("\n  total ");
  if (begin == std::string::npos) return "";
  const std::size_t end = text.find('\n', begin + 1);
  const std::string line = text.substr(begin + 9, end - begin - 9);
  return line.substr(line.find_first_not_of(' '));
}

}  // namespace

TEST_CASE("plan predicts 7B on 8 ranks without data, GPU or mpirun, and leaves nothing behind") {
  const TemporaryFolder folder;
  RunOptions options;
  options.folder = folder.path();
  const Outcome outcome = run_program({"plan", "--model", "llama2-7b", "--ranks", "8", "--device", "cpu", "--set",
                                       "zero_optimization.stage=3", "--memory", "80"},
                                      options);
  INFO(outcome.out << outcome.err);
  REQUIRE(outcome.exit_code == 0);
  for (const char* label : {"weights", "gradients", "optimizer", "activations", "workspace", "leases", "16 P",
                            "offload_optimizer=none", "yes: "}) {
    INFO(label);
    CHECK(contains(outcome.out, label));
  }
  CHECK(fs::is_empty(folder.path()));
  CHECK(outcome.seconds < 10.0);
}

TEST_CASE("plan says which change makes a run fit") {
  const Outcome outcome = run_program({"plan", "--model", "llama2-7b", "--ranks", "8", "--device", "cpu", "--memory",
                                       "80", "--micro-batch", "1", "--sequence-length", "2048"});
  INFO(outcome.out << outcome.err);
  REQUIRE(outcome.exit_code == 0);
  CHECK(contains(outcome.out, "it would fit with zero_optimization.stage 1"));
}

TEST_CASE("plan for one batch gives the table of --plan for data whose rows are full") {
  const TemporaryFolder folder;
  write_text(folder / "rows.jsonl", "{\"instruction\": \"Say it.\", \"output\": \"" + std::string(4000, 'x') + "\"}\n");
  const std::vector<std::string> run = {"--model", "tiny",  "--sequence-length",  "256",         "--device",
                                        "cpu",     "--set", "train_batch_size=1", "--max-steps", "5"};
  std::vector<std::string> planned = {"plan"};
  planned.insert(planned.end(), run.begin(), run.end());
  std::vector<std::string> train = {"--plan", "--data", folder / "rows.jsonl"};
  train.insert(train.end(), run.begin(), run.end());
  const Outcome a = run_program(planned);
  const Outcome b = run_program(train);
  INFO(a.out << a.err << b.out << b.err);
  REQUIRE(a.exit_code == 0);
  REQUIRE(b.exit_code == 0);
  CHECK(total_of(a.out) != "");
  CHECK(total_of(a.out) == total_of(b.out));
}

TEST_CASE("plan takes the ranks of mpirun and prints once") {
  RunOptions options;
  options.ranks = 2;
  const Outcome outcome = run_program({"plan", "--device", "cpu"}, options);
  INFO(outcome.out << outcome.err);
  REQUIRE(outcome.exit_code == 0);
  CHECK(contains(outcome.out, "2, 2 on each host"));
  CHECK(outcome.out.find("memory of each rank") == outcome.out.rfind("memory of each rank"));
}

TEST_CASE("plan for a GPU needs none: workspace sizes are CUDA's and offloaded states stand in a host column") {
  const Outcome outcome = run_program({"plan", "--model", "llama2-7b", "--ranks", "8", "--device", "cuda", "--set",
                                       "zero_optimization={\"stage\":2,\"offload_optimizer\":{\"device\":\"cpu\"}}"});
  INFO(outcome.out << outcome.err);
  if (contains(run_program({"report"}).out, "without CUDA")) {
    CHECK(outcome.exit_code == 1);
    CHECK(contains(outcome.err, "built without CUDA"));
    return;
  }
  REQUIRE(outcome.exit_code == 0);
  CHECK(contains(outcome.out, "CUDA libraries"));
  CHECK(contains(outcome.out, "device         host"));
}

TEST_CASE("plan refuses what training refuses") {
  const Outcome model = run_program({"plan", "--model", "no-such-model", "--ranks", "2"});
  CHECK(model.exit_code == 1);
  CHECK(error_lines(model.err).size() == 1);
  const Outcome batch = run_program({"plan", "--ranks", "3", "--device", "cpu", "--set", "train_batch_size=4"});
  CHECK(batch.exit_code == 1);
  CHECK(contains(batch.err, "train_batch_size 4 !="));
}

}  // namespace llama_zero::test
