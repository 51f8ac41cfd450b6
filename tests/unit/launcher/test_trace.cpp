// Slices of a step from a stream whose clock the test moves, the ranks' clocks, and the file.
#include <doctest/doctest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "launcher/trace_clock.h"
#include "launcher/trace_file.h"
#include "launcher/trace_observer.h"
#include "tests/support/manual_device.h"

namespace llama_zero::test {
namespace {

/// A step of one pass over two units and a head, at stage 3: gathers and reductions beside the computation.
class Step {
 public:
  explicit Step(DeviceType type) : device(type), observer(device, {"embedding", "block", "head"}, recorder) {}

  void give(std::int64_t step) {
    observer.begin_step(step);
    at(StepPoint::kPass, 1.0);
    at(StepPoint::kUnitForward, 2.0, 0);
    collective("all_gather", 100, step, 3.0);
    wait("all_gather", step, 0.5);
    at(StepPoint::kUnitForward, 4.0, 1);
    at(StepPoint::kHead, 5.0);
    at(StepPoint::kBackward, 0.0);
    commit(2, step);
    commit(1, step);
    commit(0, step);
    at(StepPoint::kPassEnd, 1.0);
    at(StepPoint::kReduced, 1.0);
    at(StepPoint::kDecided, 2.0);
    at(StepPoint::kUpdated, 3.0);
    at(StepPoint::kPublished, 0.0);
    const CommCall copy{"copy_to_host", 8, &compute, step};
    observer.before_copy(copy);
    device.clock += 0.25;
    observer.after_copy(copy);
  }

  ManualDevice device;
  ManualStream compute, background;
  TraceRecorder recorder;
  TraceObserver observer;

 private:
  void at(StepPoint point, double after, int unit = -1) {
    observer.at(point, unit, compute);
    device.clock += after;
  }
  void collective(const char* op, std::int64_t bytes, std::int64_t step, double ms) {
    const CommCall call{op, bytes, &background, step, true};
    observer.before(call);
    device.clock += ms;
    observer.after(call);
  }
  void wait(const char* op, std::int64_t step, double ms) {
    const CommCall call{op, 0, &compute, step};
    observer.before_wait(call);
    device.clock += ms;
    observer.after_wait(call);
  }
  void commit(int unit, std::int64_t step) {
    device.clock += 6.0;
    observer.at_commit(unit, false, compute);
    collective("all_to_all", 50, step, 2.0);
    observer.at_commit(unit, true, compute);
  }
};

/// Milliseconds by name, on one thread.
std::map<std::string, double> times_on(const std::vector<TraceSlice>& slices, TraceThread thread) {
  std::map<std::string, double> times;
  for (const TraceSlice& slice : slices) {
    if (slice.thread == thread) times[slice.name] += static_cast<double>(slice.end_ns - slice.begin_ns) / 1e6;
  }
  return times;
}

}  // namespace

TEST_CASE("a step becomes slices of the compute stream, named after units and phases") {
  Step step(DeviceType::kCuda);
  step.give(4);
  step.observer.resolve(3);
  CHECK(step.recorder.take().empty());
  step.observer.resolve(4);
  const std::vector<TraceSlice> slices = step.recorder.take();
  const std::map<std::string, double> expected = {{"step 4", 46.5},           {"pass", 39.5},
                                                  {"forward embedding", 5.5}, {"wait for all_gather", 0.5},
                                                  {"forward block", 4.0},     {"head: forward, loss, backward", 5.0},
                                                  {"backward block", 6.0},    {"backward embedding", 6.0},
                                                  {"reduction", 1.0},         {"norm", 1.0},
                                                  {"optimizer", 2.0},         {"all-gather", 3.0},
                                                  {"copy_to_host", 0.25}};
  for (const auto& [name, ms] : times_on(slices, TraceThread::kCompute)) {
    CAPTURE(name);
    REQUIRE(expected.contains(name));
    CHECK(ms == doctest::Approx(expected.at(name)).epsilon(1e-6));
  }
  CHECK(times_on(slices, TraceThread::kCompute).size() == expected.size());
  CHECK(times_on(slices, TraceThread::kCommunication).at("all_gather") == doctest::Approx(3.0).epsilon(1e-6));
  CHECK(times_on(slices, TraceThread::kCommunication).at("all_to_all") == doctest::Approx(6.0).epsilon(1e-6));
  for (const TraceSlice& slice : slices) {
    CAPTURE(slice.name);
    CHECK(slice.step == 4);
    if (slice.name == "all_gather") CHECK(slice.bytes == 100);
    if (slice.name == "copy_to_host") CHECK(slice.bytes == 8);
    if (slice.category == "wait") CHECK(slice.bytes == -1);
  }
}

TEST_CASE("copies beside the computation have a line for each kind and way") {
  ManualDevice device(DeviceType::kCuda);
  ManualStream stream;
  TraceRecorder recorder;
  TraceObserver observer(device, {}, recorder);
  const std::map<std::string_view, TraceThread> lines = {{"copy_to_host", TraceThread::kDownload},
                                                         {"copy_to_device", TraceThread::kUpload},
                                                         {"copy_activations_to_host", TraceThread::kActivationsDown},
                                                         {"copy_activations_to_device", TraceThread::kActivationsUp}};
  for (const auto& [op, line] : lines) {
    const CommCall copy{op, 16, &stream, 1, true};
    observer.before_copy(copy);
    device.clock += 2.0;
    observer.after_copy(copy);
  }
  observer.resolve(1);
  const std::vector<TraceSlice> slices = recorder.take();
  CHECK(slices.size() == lines.size());
  for (const TraceSlice& slice : slices) {
    CAPTURE(slice.name);
    CHECK(slice.thread == lines.at(slice.name));
    CHECK(slice.bytes == 16);
  }
}

TEST_CASE("on the CPU the computation waits for as long as a collective takes") {
  Step step(DeviceType::kCpu);
  step.give(1);
  step.observer.resolve(1);
  const auto times = times_on(step.recorder.take(), TraceThread::kCompute);
  CHECK(times.at("wait for all_gather") == doctest::Approx(3.0).epsilon(1e-6));
  CHECK(times.at("wait for all_to_all") == doctest::Approx(6.0).epsilon(1e-6));
}

TEST_CASE("steps are resolved in turn with the same events, and nothing is kept after the stop") {
  Step step(DeviceType::kCuda);
  step.give(1);
  step.give(2);
  step.observer.resolve(1);
  for (const TraceSlice& slice : step.recorder.take()) CHECK(slice.step == 1);
  step.observer.resolve(2);
  for (const TraceSlice& slice : step.recorder.take()) CHECK(slice.step == 2);
  const int events = step.device.events;
  step.give(3);
  CHECK(step.device.events == events);
  step.observer.stop();
  step.observer.at(StepPoint::kPass, -1, step.compute);
  step.observer.at_commit(0, true, step.compute);
  step.observer.resolve(9);
  CHECK(step.recorder.take().empty());
}

TEST_CASE("the offset of a clock comes from the quickest exchange") {
  // The answering clock is 1000 ahead; the slow exchange's answer came late.
  const std::vector<ClockExchange> exchanges = {{0, 1090, 100}, {200, 1210, 220}, {300, 1340, 360}};
  CHECK(clock_offset(exchanges) == 1000);
  CHECK(clock_offset(std::vector<ClockExchange>{{200, -790, 220}}) == -1000);
}

TEST_CASE("clocks that may be the same one are taken as the same") {
  CHECK(clock_offset(std::vector<ClockExchange>{{0, 9, 10}}) == 0);
  CHECK(clock_offset(std::vector<ClockExchange>{{0, 0, 10}}) == 0);
  CHECK(clock_offset(std::vector<ClockExchange>{{0, 11, 10}}) == 6);
  CHECK_THROWS_AS(clock_offset({}), Error);
}

TEST_CASE("a trace's file is an array of metadata and complete events, in microseconds") {
  const std::vector<TraceSlice> slices = {{"all_gather", "collective", TraceThread::kCommunication, 5250, 7000, 3, 64},
                                          {"load \"x\"", "loader", TraceThread::kHost, 5000, 5000, 0, -1}};
  const std::vector<std::string> ranks = {trace_events(0, "rank 0", {}, 0), trace_events(1, "rank 1", slices, 5000)};
  const auto json = nlohmann::json::parse(trace_document(ranks));
  REQUIRE(json.is_array());
  std::map<std::string, int> kinds;
  for (const auto& event : json) kinds[event.at("ph").get<std::string>()] += 1;
  CHECK(kinds == std::map<std::string, int>{{"M", 2 * (2 + 2 * kTraceThreads)}, {"X", 2}});
  const auto& first = json[json.size() - 2];
  CHECK(first.at("name") == "all_gather");
  CHECK(first.at("cat") == "collective");
  CHECK(first.at("ts") == 0.25);
  CHECK(first.at("dur") == 1.75);
  CHECK(first.at("pid") == 1);
  CHECK(first.at("tid") == 2);
  CHECK(first.at("args") == nlohmann::json{{"step", 3}, {"bytes", 64}});
  CHECK(json.back().at("name") == "load \"x\"");
  CHECK(json.back().at("args") == nlohmann::json::object());
}

}  // namespace llama_zero::test
