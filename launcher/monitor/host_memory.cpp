#include "launcher/monitor/host_memory.h"

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

namespace llama_zero {
namespace {

/// "MemTotal:       16314580 kB"
std::int64_t bytes_of_line(std::string_view text, std::string_view name) {
  const std::size_t at = text.find(name);
  if (at == std::string_view::npos) return 0;
  return std::strtoll(std::string(text.substr(at + name.size(), 40)).c_str(), nullptr, 10) * 1024;
}

}  // namespace

double HostMemoryUse::used_gb() const {
  return static_cast<double>(total_bytes - available_bytes) / (1024.0 * 1024.0 * 1024.0);
}

double HostMemoryUse::used_percent() const {
  if (total_bytes <= 0) return 0.0;
  return 100.0 * static_cast<double>(total_bytes - available_bytes) / static_cast<double>(total_bytes);
}

HostMemoryUse parse_meminfo(std::string_view text) {
  return {bytes_of_line(text, "MemTotal:"), bytes_of_line(text, "MemAvailable:")};
}

HostMemoryUse host_memory() {
  std::ifstream in("/proc/meminfo");
  return parse_meminfo(std::string(std::istreambuf_iterator<char>(in), {}));
}

}  // namespace llama_zero
