// A timeline of this process: what its threads and streams did when. Off until a recorder is made active.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace llama_zero {

/// Where a slice lies. Each is a line of the timeline, in this order.
enum class TraceThread {
  kHost,
  kCompute,
  kCommunication,
  kCheckpoint,
  kUpload,
  kDownload,
  kActivationsUp,
  kActivationsDown
};
inline constexpr int kTraceThreads = 8;
/// "host", "compute stream", "communication stream", "checkpoint writer", "upload stream", "download stream",
/// "activations up", "activations down".
std::string_view name_of(TraceThread thread);

/// Nanoseconds of the host's monotonic clock.
std::int64_t trace_now();

struct TraceSlice {
  std::string name;
  std::string_view category;  ///< a literal: "step", "forward", "backward", "collective", "wait", "host", ...
  TraceThread thread = TraceThread::kHost;
  std::int64_t begin_ns = 0, end_ns = 0;  ///< as trace_now tells them
  std::int64_t step = 0;                  ///< 0: of no step
  std::int64_t bytes = -1;                ///< -1: moves nothing
};

/// Collects slices, from any thread.
class TraceRecorder {
 public:
  TraceRecorder() = default;
  /// No longer active after this.
  ~TraceRecorder();
  TraceRecorder(const TraceRecorder&) = delete;
  TraceRecorder& operator=(const TraceRecorder&) = delete;

  /// Makes this the one that TraceScope adds to, in place of any other, or ends that.
  void activate();
  void deactivate();

  void add(TraceSlice slice);
  /// What has been added since the last call, in that order.
  std::vector<TraceSlice> take();

 private:
  std::mutex mutex_;
  std::vector<TraceSlice> slices_;
};

/// A slice of host work, from construction to destruction, added to the recorder that is active at its end. Without one
/// at its beginning it costs a lock.
class TraceScope {
 public:
  /// `name` and `category` are literals.
  TraceScope(TraceThread thread, std::string_view category, std::string_view name, std::int64_t bytes = -1);
  ~TraceScope();
  TraceScope(const TraceScope&) = delete;
  TraceScope& operator=(const TraceScope&) = delete;

 private:
  TraceThread thread_;
  std::string_view category_, name_;
  std::int64_t bytes_;
  std::int64_t begin_ns_ = 0;
  bool records_;
};

}  // namespace llama_zero
