// Everything a user can read of a run, switched on and read back.
#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/program/program.h"

namespace llama_zero::test {
namespace {

int count(const std::string& text, const std::string& part) {
  int found = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size())) ++found;
  return found;
}

std::vector<std::string> lines_with(const std::string& text, const std::string& part) {
  std::vector<std::string> lines;
  std::size_t begin = 0;
  while (begin < text.size()) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string line = text.substr(begin, end - begin);
    if (line.find(part) != std::string::npos) lines.push_back(line);
    begin = end + 1;
  }
  return lines;
}

/// The run's standard output.
std::string output_of(const TemporaryFolder& folder, int steps, const std::vector<std::string>& sets, int ranks = 0) {
  std::vector<std::string> more = {"--precision", "fp32"};
  for (const std::string& set : sets) more.insert(more.end(), {"--set", set});
  RunOptions options;
  options.ranks = ranks;
  options.folder = folder.path();
  const Outcome outcome = run_program(tiny_run(folder, "run", steps, more), options);
  INFO(outcome.out << outcome.err);
  REQUIRE(outcome.exit_code == 0);
  return outcome.out;
}

}  // namespace

TEST_CASE("steps_per_print logs DeepSpeed's lines every n steps") {
  const TemporaryFolder folder;
  const std::string out =
      output_of(folder, 4,
                {"steps_per_print=2", R"(optimizer={"type": "AdamW", "params": {"lr": 0.5, "betas": [0.8, 0.99]}})",
                 R"(scheduler={"type": "WarmupLR", "params": {"warmup_num_steps": 4, "warmup_type": "linear"}})"});
  CHECK(count(out, "step=2, skipped=0, lr=[0.125], mom=[[0.8, 0.99]]\n") == 1);  // the next update's: f(1) = 0.5 / 4
  CHECK(count(out, "step=4, skipped=0, lr=[0.375], mom=[[0.8, 0.99]]\n") == 1);
  CHECK(count(out, ", skipped=") == 2);
  // The timer leaves out the first two steps, so the line comes with the fourth.
  CHECK(count(out, "RunningAvgSamplesPerSec=") == 1);
  CHECK(count(out, "epoch=0/micro_step=4/global_step=4, RunningAvgSamplesPerSec=") == 1);

  const std::string silent = output_of(folder, 4, {});
  CHECK(count(silent, ", skipped=") == 0);
  const std::string untimed = output_of(folder, 4, {"steps_per_print=2", "timers.throughput.enabled=false"});
  CHECK(count(untimed, ", skipped=") == 2);
  CHECK(count(untimed, "RunningAvgSamplesPerSec=") == 0);
}

TEST_CASE("wall_clock_breakdown prints DeepSpeed's times of every pass and step") {
  const TemporaryFolder folder;
  const std::vector<std::string> sets = {"train_micro_batch_size_per_gpu=2", "gradient_accumulation_steps=2",
                                         "llama_zero.coalesce=false", "zero_optimization.stage=2"};
  std::vector<std::string> timed = sets;
  timed.emplace_back("wall_clock_breakdown=true");
  const std::string out = output_of(folder, 2, timed, 2);
  CHECK(lines_with(out, "time (ms) | fwd_microstep: ").size() == 4);
  const std::vector<std::string> steps = lines_with(out, "time (ms) | fwd: ");
  CHECK(steps.size() == 2);
  for (const std::string& line : steps) {
    INFO(line);
    for (const char* name : {" | bwd: ", " | bwd_inner: ", " | bwd_allreduce: ", " | step: "}) {
      CHECK(count(line, name) == 1);
    }
    // Two ranks reduce gradients, and that takes time.
    CHECK(count(line, "bwd_allreduce: 0.00") == 0);
  }
  CHECK(lines_with(out, "time (ms) | optimizer_allgather: ").size() == 2);
  CHECK(count(output_of(folder, 2, sets, 2), "time (ms)") == 0);
}

TEST_CASE("memory_breakdown prints memory around the phases of a pass") {
  const TemporaryFolder folder;
  const std::string out = output_of(folder, 2, {"memory_breakdown=true"});
  for (const char* title : {"Engine before forward\nMA ", "Engine after forward\nMA ", "Engine before backward\nMA ",
                            "Engine after backward\nMA ", "Engine before step\nMA ", "Engine after step\nMA "}) {
    INFO(title);
    CHECK(count(out, title) == 2);
  }
  CHECK(count(out, "\nCPU Virtual Memory:  used = ") == 12);
  CHECK(count(output_of(folder, 2, {}), "Max_MA") == 0);
}

TEST_CASE("dump_state prints the engine's attributes") {
  const TemporaryFolder folder;
  const std::string out = output_of(folder, 1, {"dump_state=true", "zero_optimization.stage=1"});
  CHECK(count(out, "Engine:\n  activation_checkpointing ..... selective\n") == 1);
  CHECK(count(out, "  zero_stage ................... 1\n") == 1);
  CHECK(count(output_of(folder, 1, {}), "zero_stage ..") == 0);
}

TEST_CASE("log_level decides which messages are printed") {
  const TemporaryFolder folder;
  const std::string unknown = "no_such_key=1";
  const auto run = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"--set", unknown};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_program(tiny_run(folder, "run", 1, arguments));
  };
  const Outcome usual = run({});
  CHECK(count(usual.out, "llama_zero 0.") == 1);
  CHECK(count(usual.err, "no_such_key") == 1);
  const Outcome warnings = run({"--set", "log_level=WARNING"});
  CHECK(warnings.exit_code == 0);
  CHECK(count(warnings.out, "llama_zero 0.") == 0);
  CHECK(count(warnings.err, "no_such_key") == 1);
  const Outcome silent = run({"--set", "log_level=critical"});
  CHECK(silent.err == "");
  const Outcome flag = run({"--set", "log_level=critical", "--log-level", "info"});
  CHECK(count(flag.err, "no_such_key") == 1);
}

TEST_CASE("csv_monitor and tensorboard write the scalars of every step into output_path/job_name") {
  const TemporaryFolder folder;
  const std::string out =
      output_of(folder, 3,
                {R"(csv_monitor={"enabled": true, "output_path": "monitor", "job_name": "csv"})",
                 R"(tensorboard={"enabled": true, "output_path": "monitor"})", "train_batch_size=16"});
  const auto metrics = read_json_lines(folder.path() / "run" / "metrics.jsonl");
  REQUIRE(metrics.size() == 3);
  std::string expected = "step,train_loss\n";
  for (std::size_t i = 0; i < metrics.size(); ++i) {
    expected += std::to_string(16 * (i + 1)) + "," + metrics[i].at("loss").dump() + "\n";
  }
  CHECK(read_text(folder.path() / "monitor/csv/Train_Samples_train_loss.csv") == expected);
  // The lr of the next update.
  const std::string lr = read_text(folder.path() / "monitor/csv/Train_Samples_lr.csv");
  CHECK(lr.starts_with("step,lr\n16,"));
  CHECK(count(lr, "\n") == 4);
  CHECK_FALSE(fs::exists(folder.path() / "monitor/csv/Train_Samples_loss_scale.csv"));

  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder.path() / "monitor/DeepSpeedJobName")) {
    files.push_back(entry.path());
  }
  REQUIRE(files.size() == 1);
  CHECK(files[0].filename().string().starts_with("events.out.tfevents."));
  const std::string events = read_text(files[0]);
  CHECK(count(events, "brain.Event:2") == 1);
  CHECK(count(events, "Train/Samples/lr") == 3);
  CHECK(count(events, "Train/Samples/train_loss") == 3);

  output_of(folder, 1, {R"(csv_monitor={"enabled": false, "output_path": "other"})"});
  CHECK_FALSE(fs::exists(folder.path() / "other"));
}

TEST_CASE("a resumed run's curves and metrics have every step once: what lay beyond the checkpoint is gone") {
  const TemporaryFolder folder;
  const std::vector<std::string> monitors = {"train_batch_size=16",
                                             R"(csv_monitor={"enabled": true, "output_path": "m"})",
                                             R"(tensorboard={"enabled": true, "output_path": "m", "job_name": "tb"})"};
  const auto train = [&](int steps, const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"--precision", "fp32", "--save-interval", "4"};
    for (const std::string& set : monitors) arguments.insert(arguments.end(), {"--set", set});
    arguments.insert(arguments.end(), more.begin(), more.end());
    RunOptions options;
    options.folder = folder.path();
    const Outcome outcome = run_program(tiny_run(folder, "run", steps, arguments), options);
    INFO(outcome.out << outcome.err);
    REQUIRE(outcome.exit_code == 0);
  };
  train(6, {});  // saves at step 4 and leaves the points of two steps more
  train(8, {"--resume", (folder.path() / "run").string()});

  const auto metrics = read_json_lines(folder.path() / "run/metrics.jsonl");
  REQUIRE(metrics.size() == 8);
  std::string expected = "step,train_loss\n";
  for (std::size_t i = 0; i < metrics.size(); ++i) {
    CHECK(metrics[i].at("step") == i + 1);
    expected += std::to_string(16 * (i + 1)) + "," + metrics[i].at("loss").dump() + "\n";
  }
  CHECK(read_text(folder.path() / "m/DeepSpeedJobName/Train_Samples_train_loss.csv") == expected);
  for (const auto& entry : fs::directory_iterator(folder.path() / "m/DeepSpeedJobName")) {
    CAPTURE(entry.path().string());
    CHECK(count(read_text(entry.path()), "step,") == 1);
    CHECK(count(read_text(entry.path()), "\n") == 9);
  }
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder.path() / "m/tb")) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  REQUIRE(files.size() == 2);
  const std::string forget_from_65 = "\x10\x41\x3a\x02\x08\x01";  // step = 65, session_log { status: START }
  CHECK(count(read_text(files[0]), forget_from_65) == 0);
  CHECK(count(read_text(files[1]), forget_from_65) == 1);
}

TEST_CASE("a monitor that cannot write ends the run before its first step, in one line") {
  const TemporaryFolder folder;
  write_text(folder / "file", "x");
  RunOptions options;
  options.ranks = 2;
  options.folder = folder.path();
  const Outcome outcome = run_program(
      tiny_run(folder, "run", 1, {"--set", R"(tensorboard={"enabled": true, "output_path": "file"})"}), options);
  CHECK(outcome.exit_code != 0);
  REQUIRE(error_lines(outcome.err).size() == 1);
  CHECK(error_lines(outcome.err)[0].find("file/DeepSpeedJobName") != std::string::npos);
  CHECK(read_text(folder.path() / "run/metrics.jsonl") == "");
}

TEST_CASE("every monitor at once leaves metrics.jsonl and the losses as they are") {
  const TemporaryFolder folder;
  const std::vector<std::string> on = {"steps_per_print=1",
                                       "wall_clock_breakdown=true",
                                       "memory_breakdown=true",
                                       "dump_state=true",
                                       "zero_optimization.stage=3",
                                       "zero_optimization.stage3_param_persistence_threshold=0",
                                       R"(csv_monitor={"enabled": true, "output_path": "m"})",
                                       R"(tensorboard={"enabled": true, "output_path": "m", "job_name": "tb"})",
                                       R"(comms_logger={"enabled": true, "verbose": true, "debug": true})",
                                       R"(flops_profiler={"enabled": true, "output_file": "m/profile.txt"})"};
  const std::string out = output_of(folder, 3, on, 2);
  const auto losses = [&] {
    std::vector<double> values;
    for (const auto& step : read_json_lines(folder.path() / "run/metrics.jsonl")) values.push_back(step.at("loss"));
    return values;
  };
  const std::vector<double> watched = losses();
  CHECK(watched.size() == 3);
  CHECK(count(out, "Comm. Op") == 1);
  CHECK(count(out, "\nall_to_all | [Caller Func: backward]\n") == 1);
  CHECK(count(out, "comm op: all_gather | [Caller Func: forward] | time (ms): ") > 0);
  const std::string profile = read_text(folder.path() / "m/profile.txt");
  CHECK(count(profile, "Profile Summary at step 2:") == 1);
  CHECK(count(profile, "LlamaForCausalLM(") == 1);
  CHECK(fs::exists(folder.path() / "m/DeepSpeedJobName/Train_Samples_elapsed_time_ms_step.csv"));
  output_of(folder, 3, {"zero_optimization.stage=3"}, 2);
  CHECK(losses() == watched);
}

}  // namespace llama_zero::test
