#include "launcher/host_usage.h"

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

namespace llama_zero {
namespace {

/// "RssAnon:	    1234 kB"
std::int64_t bytes_of_line(std::string_view text, std::string_view name) {
  const std::size_t at = text.find(name);
  if (at == std::string_view::npos) return 0;
  return std::strtoll(std::string(text.substr(at + name.size(), 40)).c_str(), nullptr, 10) * 1024;
}

}  // namespace

HostUsage parse_host_usage(std::string_view text) {
  return {bytes_of_line(text, "RssAnon:"), bytes_of_line(text, "RssShmem:"), bytes_of_line(text, "VmPin:")};
}

HostUsage host_usage() {
  std::ifstream in("/proc/self/status");
  return parse_host_usage(std::string(std::istreambuf_iterator<char>(in), {}));
}

}  // namespace llama_zero
