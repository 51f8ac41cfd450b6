#include "launcher/host_usage.h"

#include "launcher/proc_field.h"

namespace llama_zero {

HostUsage parse_host_usage(std::string_view text) {
  return {bytes_of_proc_line(text, "RssAnon:"), bytes_of_proc_line(text, "RssShmem:"),
          bytes_of_proc_line(text, "VmPin:")};
}

HostUsage host_usage() { return parse_host_usage(read_proc_file("/proc/self/status")); }

}  // namespace llama_zero
