#include "launcher/trace_file.h"

#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

namespace llama_zero {
namespace {

using Json = nlohmann::ordered_json;

Json metadata(int rank, int thread, const char* what, Json arguments) {
  return {{"name", what}, {"ph", "M"}, {"pid", rank}, {"tid", thread}, {"args", std::move(arguments)}};
}

Json complete_event(int rank, const TraceSlice& slice, std::int64_t origin_ns) {
  Json arguments = Json::object();
  if (slice.step > 0) arguments["step"] = slice.step;
  if (slice.bytes >= 0) arguments["bytes"] = slice.bytes;
  return {{"name", slice.name},
          {"cat", slice.category},
          {"ph", "X"},
          {"ts", static_cast<double>(slice.begin_ns - origin_ns) / 1e3},
          {"dur", static_cast<double>(slice.end_ns - slice.begin_ns) / 1e3},
          {"pid", rank},
          {"tid", static_cast<int>(slice.thread)},
          {"args", std::move(arguments)}};
}

}  // namespace

std::string trace_events(int rank, const std::string& title, std::span<const TraceSlice> slices,
                         std::int64_t origin_ns) {
  std::vector<Json> events;
  events.push_back(metadata(rank, 0, "process_name", {{"name", title}}));
  events.push_back(metadata(rank, 0, "process_sort_index", {{"sort_index", rank}}));
  for (int thread = 0; thread < kTraceThreads; ++thread) {
    const std::string_view name = name_of(static_cast<TraceThread>(thread));
    events.push_back(metadata(rank, thread, "thread_name", {{"name", name}}));
    events.push_back(metadata(rank, thread, "thread_sort_index", {{"sort_index", thread}}));
  }
  for (const TraceSlice& slice : slices) events.push_back(complete_event(rank, slice, origin_ns));
  std::string text;
  for (const Json& event : events) {
    if (!text.empty()) text += ",\n";
    text += event.dump();
  }
  return text;
}

std::string trace_document(std::span<const std::string> events_of_ranks) {
  std::string text = "[\n";
  for (std::size_t rank = 0; rank < events_of_ranks.size(); ++rank) {
    if (rank > 0) text += ",\n";
    text += events_of_ranks[rank];
  }
  return text + "\n]\n";
}

}  // namespace llama_zero
