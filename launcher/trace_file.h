// A timeline as a file: Chrome's trace event format, which Perfetto reads as well.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "core/trace.h"

namespace llama_zero {

/// One rank's events as JSON objects, one a line, each followed by ",\n" but for the last: metadata (names and order of
/// the process and its threads), then a complete event ("ph": "X") a slice with ts and dur in microseconds since
/// `origin_ns`, and step and bytes as arguments. A rank is a process, a TraceThread a thread.
std::string trace_events(int rank, const std::string& title, std::span<const TraceSlice> slices,
                         std::int64_t origin_ns);

/// The file: JSON array of all ranks' events.
std::string trace_document(std::span<const std::string> events_of_ranks);

}  // namespace llama_zero
