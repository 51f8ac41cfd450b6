// The timeline of a real run, read back and held against Chrome's trace event format.
#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "tests/program/program.h"

namespace llama_zero::test {
namespace {

using Json = nlohmann::json;

/// A complete event; times in microseconds.
struct Slice {
  std::string name, category;
  double begin = 0.0, end = 0.0;
  std::int64_t step = 0, bytes = -1;
};

/// By (process, thread), in the order of the file.
using Threads = std::map<std::pair<int, int>, std::vector<Slice>>;

struct Trace {
  Threads threads;
  std::map<int, std::string> processes;
  std::map<std::pair<int, int>, std::string> names;
};

/// What the format's description demands of "M" and "X" events.
Trace read_trace(const fs::path& path) {
  Trace trace;
  const Json json = Json::parse(read_text(path));
  REQUIRE(json.is_array());
  for (const Json& event : json) {
    const int process = event.at("pid").get<int>();
    const std::pair<int, int> thread{process, event.at("tid").get<int>()};
    REQUIRE(event.at("name").is_string());
    REQUIRE(event.at("args").is_object());
    if (event.at("ph") == "M") {
      const auto& arguments = event.at("args");
      if (event.at("name") == "process_name") trace.processes[process] = arguments.at("name");
      if (event.at("name") == "thread_name") trace.names[thread] = arguments.at("name");
      continue;
    }
    REQUIRE(event.at("ph") == "X");
    REQUIRE(event.at("ts").is_number());
    REQUIRE(event.at("dur").is_number());
    const double begin = event.at("ts").get<double>();
    Slice slice{event.at("name"), event.at("cat"), begin, begin + event.at("dur").get<double>(), 0, -1};
    slice.step = event.at("args").value("step", std::int64_t{0});
    slice.bytes = event.at("args").value("bytes", std::int64_t{-1});
    CHECK_FALSE(slice.name.empty());
    CHECK(begin >= 0.0);
    CHECK(event.at("dur").get<double>() >= 0.0);
    trace.threads[thread].push_back(slice);
  }
  return trace;
}

/// The slices of a thread are apart or one within the other, as "X" events must be. Their times have three decimals.
bool is_nested(std::vector<Slice> slices) {
  constexpr double kRounding = 2e-3;
  std::ranges::stable_sort(
      slices, [](const Slice& a, const Slice& b) { return a.begin != b.begin ? a.begin < b.begin : a.end > b.end; });
  std::vector<double> open;
  for (const Slice& slice : slices) {
    while (!open.empty() && open.back() <= slice.begin + kRounding) open.pop_back();
    if (!open.empty() && slice.end > open.back() + kRounding) return false;
    open.push_back(slice.end);
  }
  return true;
}

std::set<std::int64_t> steps_of(const std::vector<Slice>& slices, const std::string& category) {
  std::set<std::int64_t> steps;
  for (const Slice& slice : slices) {
    if (slice.category == category) steps.insert(slice.step);
  }
  return steps;
}

bool has(const std::vector<Slice>& slices, const std::string& name) {
  return std::ranges::any_of(slices, [&](const Slice& slice) { return slice.name == name; });
}

Trace traced_run(const TemporaryFolder& folder, int ranks, int stage, const std::vector<std::string>& more) {
  const std::string file = folder.path() / ("traces/" + std::to_string(stage) + ".json");
  std::vector<std::string> arguments = {"--device", "cpu", "--trace", file, "--save-interval", "1"};
  for (const std::string& setting :
       {"stage=" + std::to_string(stage), std::string("stage3_param_persistence_threshold=0")}) {
    arguments.insert(arguments.end(), {"--set", "zero_optimization." + setting});
  }
  arguments.insert(arguments.end(), more.begin(), more.end());
  RunOptions options;
  options.ranks = ranks == 1 ? 0 : ranks;
  const Outcome outcome = run_program(tiny_run(folder, "run", 5, arguments), options);
  INFO(outcome.out << outcome.err);
  REQUIRE(outcome.exit_code == 0);
  CHECK(outcome.out.find("trace     " + file) != std::string::npos);
  return read_trace(file);
}

}  // namespace

TEST_CASE("a trace shows the streams of every rank for as many steps as it is told") {
  const TemporaryFolder folder;
  constexpr int kHost = 0, kCompute = 1, kCommunication = 2, kWriter = 3;
  const Trace trace = traced_run(folder, 3, 3, {"--trace-steps", "3"});
  CHECK(trace.processes.size() == 3);
  std::vector<std::pair<double, double>> first_steps;
  for (int rank = 0; rank < 3; ++rank) {
    CAPTURE(rank);
    CHECK(trace.processes.at(rank).starts_with("rank " + std::to_string(rank) + " on "));
    CHECK(trace.names.at({rank, kCompute}) == "compute stream");
    CHECK(trace.names.at({rank, kCommunication}) == "communication stream");
    for (const int thread : {kHost, kCompute, kCommunication, kWriter}) {
      CAPTURE(thread);
      REQUIRE(trace.threads.contains({rank, thread}));
      CHECK(is_nested(trace.threads.at({rank, thread})));
    }
    const std::vector<Slice>& compute = trace.threads.at({rank, kCompute});
    CHECK(steps_of(compute, "step") == std::set<std::int64_t>{1, 2, 3});
    for (const std::string name :
         {"step 1", "pass", "forward embedding", "forward blocks.0", "head: forward, loss, backward",
          "backward blocks.0", "backward embedding", "reduction", "norm", "optimizer", "all-gather",
          "wait for all_gather", "wait for all_to_all", "copy_to_host"}) {
      CAPTURE(name);
      CHECK(has(compute, name));
    }
    const std::vector<Slice>& communication = trace.threads.at({rank, kCommunication});
    CHECK(steps_of(communication, "collective") == std::set<std::int64_t>{1, 2, 3});
    CHECK(has(communication, "all_gather"));
    CHECK(has(communication, "all_to_all"));
    for (const Slice& slice : communication) CHECK(slice.bytes > 0);
    CHECK(has(trace.threads.at({rank, kHost}), "load batch"));
    CHECK(has(trace.threads.at({rank, kHost}), "save"));
    CHECK(has(trace.threads.at({rank, kWriter}), "write shard"));
    for (const Slice& slice : compute) {
      if (slice.name == "step 1") first_steps.emplace_back(slice.begin, slice.end);
    }
  }
  // On one clock: a step has collectives of all ranks, so no rank's begins after another's has ended.
  REQUIRE(first_steps.size() == 3);
  for (const auto& [begin, end] : first_steps) {
    for (const auto& [other_begin, other_end] : first_steps) CHECK(begin < other_end);
    CHECK(begin < end);
  }
}

TEST_CASE("a trace of one rank at stage 0 ends with the run when the run is shorter") {
  const TemporaryFolder folder;
  const Trace trace = traced_run(folder, 1, 0, {});
  CHECK(trace.processes.size() == 1);
  CHECK(steps_of(trace.threads.at({0, 1}), "step") == std::set<std::int64_t>{1, 2, 3, 4, 5});
  CHECK(is_nested(trace.threads.at({0, 1})));
}

TEST_CASE("block inputs on their way to host memory and back are in the trace and in the account") {
  const TemporaryFolder folder;
  constexpr int kUp = 6, kDown = 7;
  const Trace trace = traced_run(folder, 1, 0, {"--set", "activation_checkpointing.cpu_checkpointing=true"});
  const auto summary = Json::parse(read_text(folder.path() / "run/summary.json")).at("host_copies");
  for (const auto& [thread, line, name] : {std::tuple{kUp, "activations up", "copy_activations_to_device"},
                                           std::tuple{kDown, "activations down", "copy_activations_to_host"}}) {
    CAPTURE(name);
    CHECK(trace.names.at({0, thread}) == line);
    const std::vector<Slice>& slices = trace.threads.at({0, thread});
    CHECK(is_nested(slices));
    CHECK(steps_of(slices, "host copy") == std::set<std::int64_t>{1, 2, 3, 4, 5});
    std::int64_t bytes = 0;
    for (const Slice& slice : slices) bytes += slice.bytes;
    CHECK(bytes > 0);
    CHECK(summary.at(name).at("bytes") == bytes);
    CHECK(summary.at(name).at("calls") == slices.size());
    CHECK(has(trace.threads.at({0, 1}), std::string("wait for ") + name));
  }
}

TEST_CASE("a trace at stage 1 has its collectives within the phases of the compute stream") {
  const TemporaryFolder folder;
  const Trace trace = traced_run(folder, 2, 1, {"--trace-steps", "1"});
  for (const int rank : {0, 1}) {
    const std::vector<Slice>& compute = trace.threads.at({rank, 1});
    CHECK(is_nested(compute));
    CHECK(steps_of(compute, "step") == std::set<std::int64_t>{1});
    CHECK(has(compute, "all_to_all"));
    CHECK(has(compute, "all_gather"));
  }
}

TEST_CASE("a trace that cannot be written ends the run before its first step") {
  const TemporaryFolder folder;
  RunOptions options;
  options.ranks = 2;
  const Outcome outcome = run_program(tiny_run(folder, "run", 3, {"--trace", folder.path().string()}), options);
  INFO(outcome.out << outcome.err);
  CHECK(outcome.exit_code == 1);
  const auto errors = error_lines(outcome.err);
  REQUIRE(errors.size() == 1);
  CHECK(errors[0].find("is a folder") != std::string::npos);
  CHECK(outcome.out.find("step 1/") == std::string::npos);
}

}  // namespace llama_zero::test
