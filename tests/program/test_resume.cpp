// Checkpoints of the real program: saved while it runs, gone on from at any rank count and stage.
#include <doctest/doctest.h>

#include <cstring>

#include "core/files.h"
#include "tests/program/program.h"
#include "zero/checkpoint/folder.h"

namespace llama_zero::test {
namespace {

Outcome on_ranks(int ranks, const std::vector<std::string>& arguments, std::vector<std::string> environment = {}) {
  RunOptions options;
  options.ranks = ranks == 1 ? 0 : ranks;
  options.environment = std::move(environment);
  return run_program(arguments, options);
}

std::vector<std::string> with(std::vector<std::string> arguments, const std::vector<std::string>& more) {
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

std::vector<std::string> stage(int number, const std::string& precision) {
  return {"--precision", precision, "--set", "zero_optimization.stage=" + std::to_string(number)};
}

/// Every fp32 value of a checkpoint's state.
std::vector<float> values_of(const fs::path& checkpoint, int state) {
  CheckpointReader reader(checkpoint);
  std::vector<float> all;
  const auto& units = reader.manifest().units;
  for (std::size_t unit = 0; unit < units.size(); ++unit) {
    std::vector<float> values(static_cast<std::size_t>(units[unit].numel));
    reader.read(static_cast<int>(unit), state, 0, values);
    all.insert(all.end(), values.begin(), values.end());
  }
  return all;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

std::string model_bytes(const fs::path& run) { return read_text(run / "final/model.safetensors"); }

std::vector<double> losses(const fs::path& run) {
  std::vector<double> values;
  for (const auto& line : read_json_lines(run / "metrics.jsonl")) values.push_back(line.at("loss").get<double>());
  return values;
}

}  // namespace

TEST_CASE("a run resumed is the run that was not stopped, bit for bit") {
  for (const int number : {0, 1, 2, 3}) {
    const int ranks = number == 1 ? 1 : 2;
    const std::string precision = number == 2 ? "bf16" : "fp16";
    CAPTURE(number);
    const TemporaryFolder folder;
    const std::vector<std::string> same = with(stage(number, precision), {"--save-interval", "6"});
    const Outcome straight = on_ranks(ranks, tiny_run(folder, "straight", 12, same));
    INFO(straight.out << straight.err);
    REQUIRE(straight.exit_code == 0);
    const fs::path middle = folder.path() / "straight/checkpoints/step-00000006";
    const Outcome resumed = on_ranks(ranks, tiny_run(folder, "resumed", 12, with(same, {"--resume", middle.string()})));
    INFO(resumed.out << resumed.err);
    REQUIRE(resumed.exit_code == 0);
    CHECK(model_bytes(folder.path() / "straight") == model_bytes(folder.path() / "resumed"));
    const fs::path end = "checkpoints/step-00000012";
    for (const int state : {0, 1, 2}) {
      CHECK(same_bits(values_of(folder.path() / "straight" / end, state),
                      values_of(folder.path() / "resumed" / end, state)));
    }
    const std::vector<double> all = losses(folder.path() / "straight");
    const std::vector<double> later = losses(folder.path() / "resumed");
    REQUIRE(all.size() == 12);
    REQUIRE(later.size() == 6);
    CHECK(std::vector<double>(all.begin() + 6, all.end()) == later);
  }
}

TEST_CASE("a checkpoint goes on at another rank count and stage with the same weights") {
  const TemporaryFolder folder;
  const std::vector<std::string> batch = {"--save-interval", "3", "--set", "train_batch_size=24", "--micro-batch", "2"};
  const auto steps = [&](const std::string& name, int ranks, int number, const std::vector<std::string>& more) {
    const Outcome outcome = on_ranks(ranks, tiny_run(folder, name, 6, with(with(stage(number, "fp32"), batch), more)));
    INFO(outcome.out << outcome.err);
    REQUIRE(outcome.exit_code == 0);
    return outcome;
  };
  steps("four", 4, 3, {});
  const fs::path saved = folder.path() / "four/checkpoints/step-00000003";
  const std::vector<double> expected = losses(folder.path() / "four");
  for (const auto& [ranks, number] : {std::pair{1, 0}, std::pair{3, 2}}) {
    CAPTURE(ranks);
    const std::string name = "on " + std::to_string(ranks);
    const Outcome outcome = steps(name, ranks, number, {"--resume", saved.string()});
    CHECK(outcome.out.find("saved by 4 ranks at stage 3") != std::string::npos);
    CHECK(outcome.out.find("differs: zero_optimization.stage: 3 -> " + std::to_string(number)) != std::string::npos);
    const std::vector<double> later = losses(folder.path() / name);
    REQUIRE(later.size() == 3);
    // The first loss comes from the checkpoint's own weights and the same rows; only the order of sums differs.
    for (std::size_t i = 0; i < 3; ++i) {
      CAPTURE(later[i] - expected[i + 3]);
      CHECK(std::abs(later[i] - expected[i + 3]) <= 2e-5 * expected[i + 3]);
    }
  }
}

TEST_CASE("a run that is told to stop finishes its step, saves, and says how to go on") {
  const TemporaryFolder folder;
  RunOptions options;
  options.terminate_when = folder.path() / "run/metrics.jsonl";
  const Outcome outcome = run_program(tiny_run(folder, "run", 1000000), options);
  INFO(outcome.out << outcome.err);
  CHECK(outcome.exit_code == 0);
  CHECK(outcome.out.find("stopped   by Terminated after step ") != std::string::npos);
  CHECK(outcome.out.find("--resume " + (folder.path() / "run").string()) != std::string::npos);
  const std::size_t steps = losses(folder.path() / "run").size();
  CheckpointReader reader(find_checkpoint(folder.path() / "run"));
  reader.verify_all();
  CHECK(reader.manifest().step == static_cast<std::int64_t>(steps));

  // Going on in the same folder keeps the metrics of the steps that are behind it.
  const int more = static_cast<int>(steps) + 2;
  const Outcome resumed = run_program(tiny_run(folder, "run", more, {"--resume", folder.path() / "run"}));
  INFO(resumed.out << resumed.err);
  CHECK(resumed.exit_code == 0);
  CHECK(losses(folder.path() / "run").size() == steps + 2);
  CHECK(fs::exists(folder.path() / "run/final/model.safetensors"));
}

TEST_CASE("a run saves checkpoints as often as it is told, and keeps as many") {
  const TemporaryFolder folder;
  const auto steps_of = [&](const std::string& name, const std::vector<std::string>& more) {
    const Outcome outcome = run_program(tiny_run(folder, name, 7, more));
    INFO(outcome.out << outcome.err);
    REQUIRE(outcome.exit_code == 0);
    return CheckpointRoot(folder.path() / name / "checkpoints").steps();
  };
  using Steps = std::vector<std::int64_t>;
  CHECK(steps_of("never", {"--save-interval", "none"}) == Steps{});
  CHECK(steps_of("default", {}) == Steps{});
  CHECK(steps_of("two", {"--save-interval", "2"}) == Steps{4, 6});
  CHECK(steps_of("all", {"--save-interval", "2", "--keep", "0"}) == Steps{2, 4, 6});
  CHECK(steps_of("one", {"--save-interval", "3", "--keep", "1"}) == Steps{6});
  CHECK(steps_of("clock", {"--save-interval", "0.000001s", "--keep", "1"}).size() == 1);
}

TEST_CASE("a checkpoint of any rank count is exported offline as the model that the run would have written") {
  const TemporaryFolder folder;
  const std::vector<std::string> more = with(stage(3, "fp16"), {"--save-interval", "4"});
  REQUIRE(on_ranks(2, tiny_run(folder, "run", 4, more)).exit_code == 0);
  const fs::path run = folder.path() / "run";
  const Outcome outcome = run_program({"export", "--checkpoint", run.string(), "--output", folder / "model"});
  INFO(outcome.out << outcome.err);
  REQUIRE(outcome.exit_code == 0);
  for (const std::string name : {"model.safetensors", "config.json", "tokenizer.model"}) {
    CAPTURE(name);
    CHECK(read_text(folder.path() / "model" / name) == read_text(run / "final" / name));
  }
  const Outcome wide =
      run_program({"export", "--checkpoint", run.string(), "--output", folder / "wide", "--export-dtype", "fp32"});
  CHECK(wide.exit_code == 0);
  CHECK(fs::file_size(folder.path() / "wide/model.safetensors") >
        fs::file_size(folder.path() / "model/model.safetensors") * 3 / 2);

  const Outcome nothing = run_program({"export", "--checkpoint", folder / "model", "--output", folder / "x"});
  CHECK(nothing.exit_code == 1);
  CHECK(error_lines(nothing.err).size() == 1);
}

TEST_CASE("an imported model's own generation settings go along when a checkpoint of its training is exported") {
  const TemporaryFolder folder;
  REQUIRE(run_program(tiny_run(folder, "first", 1)).exit_code == 0);
  const fs::path source = folder.path() / "first/final";
  write_text(source / "generation_config.json", "{\"max_length\": 77}\n");
  const Outcome trained = run_program({"--model", source.string(), "--data", folder / "train.jsonl", "--output",
                                       folder / "second", "--max-steps", "1", "--save-interval", "1"});
  INFO(trained.out << trained.err);
  REQUIRE(trained.exit_code == 0);
  // Read a chunk at a time: of the host's memory an import takes the arena and little more.
  CHECK(trained.out.find("\nimport    0.00 GB in ") != std::string::npos);
  const auto summary = nlohmann::json::parse(read_text(folder.path() / "second/summary.json"));
  CHECK(summary.at("import").at("bytes") == 2 * summary.at("parameters").get<std::int64_t>());
  CHECK(summary.at("export").at("bytes") == 2 * summary.at("parameters").get<std::int64_t>());
  CHECK(summary.at("import").at("anonymous_bytes") > 0);
  const auto first = nlohmann::json::parse(read_text(folder.path() / "first/summary.json"));
  CHECK(first.at("import").is_null());
  const auto exported = [&](const std::string& name) {
    const Outcome outcome = run_program({"export", "--checkpoint", folder / "second", "--output", folder / name});
    INFO(outcome.out << outcome.err);
    CHECK(outcome.exit_code == 0);
    return read_text(folder.path() / name / "generation_config.json");
  };
  CHECK(exported("with").find("77") != std::string::npos);
  fs::rename(source, folder.path() / "moved");
  const std::string generated = exported("without");
  CHECK_FALSE(generated.empty());
  CHECK(generated.find("77") == std::string::npos);
}

TEST_CASE("a checkpoint's tune file that a CPU cannot use is ignored in one line and handed on") {
  const TemporaryFolder folder;
  const std::vector<std::string> more = with(stage(0, "fp32"), {"--save-interval", "2"});
  REQUIRE(run_program(tiny_run(folder, "run", 2, more)).exit_code == 0);
  // As a run on a GPU would have left it.
  const std::string table = "{\"format\": \"llama_zero tune table 1\"}\n";
  const CheckpointRoot root(folder.path() / "run/checkpoints");
  CheckpointManifest manifest = CheckpointReader(root.folder(2)).manifest();
  CHECK(manifest.files.size() == 3);
  root.begin(2);
  for (const auto& entry : fs::directory_iterator(root.folder(2))) {
    fs::copy_file(entry.path(), root.partial(2) / entry.path().filename(), fs::copy_options::overwrite_existing);
  }
  manifest.files.push_back(root.add_file(2, "tune.json", table));
  root.complete(manifest, 0);

  const Outcome outcome = run_program(tiny_run(folder, "run", 4, with(more, {"--resume", folder / "run"})));
  INFO(outcome.out << outcome.err);
  REQUIRE(outcome.exit_code == 0);
  CHECK(outcome.out.find("tune      the checkpoint's table is ignored: it is a GPU's\n") != std::string::npos);
  CheckpointReader later(root.folder(4));
  CHECK(later.file("tune.json") == table);
  later.verify_all();
}

TEST_CASE("a rank killed while the run goes on loses no complete checkpoint") {
  const TemporaryFolder folder;
  const std::vector<std::string> more = with(stage(3, "fp16"), {"--save-interval", "2"});
  const Outcome killed = on_ranks(2, tiny_run(folder, "run", 10, more), {"LLAMA_ZERO_TEST_KILL=1:6"});
  CHECK(killed.exit_code != 0);
  CheckpointReader reader(find_checkpoint(folder.path() / "run"));
  reader.verify_all();
  CHECK(reader.manifest().step >= 2);
  const Outcome resumed = on_ranks(2, tiny_run(folder, "run", 10, with(more, {"--resume", folder.path() / "run"})));
  INFO(resumed.out << resumed.err);
  CHECK(resumed.exit_code == 0);
  CHECK(losses(folder.path() / "run").size() == 10);
}

TEST_CASE("a rank killed inside a collective ends all ranks, and the last checkpoint goes on") {
  const TemporaryFolder folder;
  const std::vector<std::string> more = with(stage(3, "fp16"), {"--save-interval", "2"});
  const Outcome killed = on_ranks(3, tiny_run(folder, "run", 8, more), {"LLAMA_ZERO_TEST_COMM_FAULT=kill@1:6"});
  INFO(killed.out << killed.err);
  CHECK(killed.exit_code != 0);
  CHECK(killed.seconds < 15.0);
  // mpirun sees the rank die and says so; the others only end.
  CHECK(killed.err.find("process rank 1") != std::string::npos);
  CHECK(killed.err.find("signal 9") != std::string::npos);
  CHECK(error_lines(killed.err).empty());
  const fs::path run = folder.path() / "run";
  CheckpointReader reader(find_checkpoint(run));
  reader.verify_all();
  CHECK(reader.manifest().step >= 2);
  const Outcome resumed = on_ranks(3, tiny_run(folder, "run", 8, with(more, {"--resume", run.string()})));
  INFO(resumed.out << resumed.err);
  CHECK(resumed.exit_code == 0);
  CHECK(losses(run).size() == 8);
}

TEST_CASE("a disk that fills up while a checkpoint is written ends the run with one line and the last one whole") {
  const TemporaryFolder folder;
  const std::vector<std::string> more = {"--save-interval", "2"};
  const fs::path run = folder.path() / "run";
  REQUIRE(run_program(tiny_run(folder, "run", 2, more)).exit_code == 0);
  RunOptions options;
  options.environment = {"LLAMA_ZERO_TEST_IO_FAULT=enospc@byte:100000"};
  const Outcome outcome = run_program(tiny_run(folder, "run", 20, with(more, {"--resume", run.string()})), options);
  INFO(outcome.out << outcome.err);
  CHECK(outcome.exit_code == 1);
  const auto errors = error_lines(outcome.err);
  REQUIRE(errors.size() == 1);
  CHECK(errors[0].find("the checkpoint of step 4 could not be saved") != std::string::npos);
  CHECK(errors[0].find("No space left on device") != std::string::npos);
  CHECK(errors[0].find("step-00000002") != std::string::npos);
  CheckpointReader reader(find_checkpoint(run));
  reader.verify_all();
  CHECK(reader.manifest().step == 2);
}

TEST_CASE("a checkpoint that does not fit the run is refused with the reason") {
  const TemporaryFolder folder;
  const fs::path run = folder.path() / "run";
  REQUIRE(run_program(tiny_run(folder, "run", 2, {"--save-interval", "2"})).exit_code == 0);
  const auto refused = [&](const std::vector<std::string>& more, const std::string& reason) {
    const Outcome outcome = run_program(tiny_run(folder, "other", 3, more));
    INFO(outcome.out << outcome.err);
    CHECK(outcome.exit_code == 1);
    const auto errors = error_lines(outcome.err);
    REQUIRE(errors.size() == 1);
    CHECK(errors[0].find(reason) != std::string::npos);
  };
  refused({"--resume", folder / "nowhere"}, "there is no such folder");
  refused({"--resume", folder / ""}, "it holds no complete checkpoint");
  refused({"--resume", run.string(), "--set", "optimizer.type=Lion"}, "was trained with optimizer AdamW");
  refused({"--resume", run.string(), "--sequence-length", "4096"}, "is of another model than");
  refused({"--save-interval", "soon"}, "is neither a number of steps");
}

}  // namespace llama_zero::test
