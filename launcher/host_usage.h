// Host memory of this process, as the system counts it.
#pragma once

#include <cstdint>
#include <string_view>

namespace llama_zero {

/// Bytes. Pages of mapped files are not among them: the system takes those back when it wants. Neither is what a GPU's
/// driver page-locks for itself.
struct HostUsage {
  std::int64_t anonymous = 0;  ///< RssAnon
  std::int64_t shared = 0;     ///< RssShmem
  std::int64_t pinned = 0;     ///< VmPin
  bool operator==(const HostUsage&) const = default;
};

/// From the text of /proc/self/status; lines that are not there count as 0.
HostUsage parse_host_usage(std::string_view text);
/// Of this process now; zeros where it cannot be read.
HostUsage host_usage();

}  // namespace llama_zero
