#include "core/trace.h"

#include <array>
#include <chrono>
#include <exception>
#include <utility>

namespace llama_zero {
namespace {

constexpr std::array<std::string_view, kTraceThreads> kNames = {
    "host",          "compute stream",  "communication stream", "checkpoint writer",
    "upload stream", "download stream", "activations up",       "activations down"};

// A scope on another thread may end while the recorder goes: both take the lock.
std::mutex g_mutex;
TraceRecorder* g_active = nullptr;

bool is_active() {
  const std::scoped_lock lock(g_mutex);
  return g_active != nullptr;
}

void add_to_active(TraceSlice slice) {
  const std::scoped_lock lock(g_mutex);
  if (g_active != nullptr) g_active->add(std::move(slice));
}

}  // namespace

std::string_view name_of(TraceThread thread) { return kNames.at(static_cast<std::size_t>(thread)); }

std::int64_t trace_now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

TraceRecorder::~TraceRecorder() { deactivate(); }

void TraceRecorder::activate() {
  const std::scoped_lock lock(g_mutex);
  g_active = this;
}

void TraceRecorder::deactivate() {
  const std::scoped_lock lock(g_mutex);
  if (g_active == this) g_active = nullptr;
}

void TraceRecorder::add(TraceSlice slice) {
  const std::scoped_lock lock(mutex_);
  slices_.push_back(std::move(slice));
}

std::vector<TraceSlice> TraceRecorder::take() {
  const std::scoped_lock lock(mutex_);
  return std::exchange(slices_, {});
}

TraceScope::TraceScope(TraceThread thread, std::string_view category, std::string_view name, std::int64_t bytes)
    : thread_(thread), category_(category), name_(name), bytes_(bytes), records_(is_active()) {
  if (records_) begin_ns_ = trace_now();
}

TraceScope::~TraceScope() {
  if (!records_) return;
  try {
    add_to_active({std::string(name_), category_, thread_, begin_ns_, trace_now(), 0, bytes_});
  } catch (const std::exception&) {  // no memory for a slice: it is missing, the run goes on
  }
}

}  // namespace llama_zero
