// How full the host is.
#pragma once

#include <cstdint>
#include <string_view>

namespace llama_zero {

struct HostMemoryUse {
  std::int64_t total_bytes = 0, available_bytes = 0;
  double used_gb() const;       ///< 1 GB = 2^30 bytes
  double used_percent() const;  ///< 0 when nothing is known
};

/// From the text of /proc/meminfo; lines that are not there count as 0.
HostMemoryUse parse_meminfo(std::string_view text);
/// Of this host; zeros where it cannot be read.
HostMemoryUse host_memory();

}  // namespace llama_zero
