#include <doctest/doctest.h>

#include <thread>
#include <vector>

#include "core/trace.h"

namespace llama_zero {

TEST_CASE("scopes of any thread end up in the active recorder") {
  TraceRecorder recorder;
  recorder.activate();
  const std::int64_t before = trace_now();
  { const TraceScope scope(TraceThread::kHost, "loader", "load", 7); }
  std::thread([] { const TraceScope scope(TraceThread::kCheckpoint, "checkpoint", "write"); }).join();
  const std::int64_t after = trace_now();
  const std::vector<TraceSlice> slices = recorder.take();
  REQUIRE(slices.size() == 2);
  CHECK(slices[0].name == "load");
  CHECK(slices[0].category == "loader");
  CHECK(slices[0].bytes == 7);
  CHECK(slices[1].thread == TraceThread::kCheckpoint);
  CHECK(before <= slices[0].begin_ns);
  CHECK(slices[0].begin_ns <= slices[0].end_ns);
  CHECK(slices[0].end_ns <= slices[1].begin_ns);
  CHECK(slices[1].end_ns <= after);
  CHECK(recorder.take().empty());
}

TEST_CASE("without an active recorder a scope leaves nothing, nor does one that outlives it") {
  { const TraceScope scope(TraceThread::kHost, "host", "before"); }
  TraceRecorder first;
  {
    TraceRecorder second;
    second.activate();
    const TraceScope scope(TraceThread::kHost, "host", "across");
    second.deactivate();
    first.deactivate();  // not the active one: nothing happens
  }
  CHECK(first.take().empty());
  first.activate();
  { const TraceScope scope(TraceThread::kHost, "host", "now"); }
  CHECK(first.take().size() == 1);
}

}  // namespace llama_zero
