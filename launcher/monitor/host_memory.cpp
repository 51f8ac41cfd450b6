#include "launcher/monitor/host_memory.h"

#include "launcher/proc_field.h"

namespace llama_zero {

double HostMemoryUse::used_gb() const {
  return static_cast<double>(total_bytes - available_bytes) / (1024.0 * 1024.0 * 1024.0);
}

double HostMemoryUse::used_percent() const {
  if (total_bytes <= 0) return 0.0;
  return 100.0 * static_cast<double>(total_bytes - available_bytes) / static_cast<double>(total_bytes);
}

HostMemoryUse parse_meminfo(std::string_view text) {
  return {bytes_of_proc_line(text, "MemTotal:"), bytes_of_proc_line(text, "MemAvailable:")};
}

HostMemoryUse host_memory() { return parse_meminfo(read_proc_file("/proc/meminfo")); }

}  // namespace llama_zero
