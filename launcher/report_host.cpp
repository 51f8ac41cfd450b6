#include "launcher/report_host.h"

#include <fmt/format.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <set>
#include <span>
#include <sstream>
#include <string_view>

#include "core/arena.h"
#include "launcher/preflight_host.h"

extern char** environ;

namespace llama_zero {
namespace {

namespace fs = std::filesystem;

/// What of the instruction set this program or its libraries can use.
constexpr std::string_view kFeatures[] = {"avx2",        "fma",         "f16c",     "avx512f",
                                          "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16"};
constexpr std::string_view kPrefixes[] = {"NCCL_", "OMP_", "OPENBLAS_", "CUDA_", "OMPI_MCA_", "PRTE_MCA_", "UCX_"};

/// What mpirun (4 and 5) tells its ranks in the same form.
constexpr std::string_view kOfLauncher[] = {"OMPI_MCA_orte_",
                                            "OMPI_MCA_ess",
                                            "OMPI_MCA_pmix",
                                            "OMPI_MCA_shmem_RUNTIME",
                                            "OMPI_MCA_initial_wdir",
                                            "OMPI_MCA_prte_",
                                            "OMPI_MCA_mpi_oversubscribe",
                                            "PRTE_MCA_prte_",
                                            "PRTE_MCA_ess"};

bool starts_with_any(std::string_view text, std::span<const std::string_view> prefixes) {
  return std::ranges::any_of(prefixes, [&](std::string_view prefix) { return text.starts_with(prefix); });
}

std::string joined(const std::vector<std::string>& words, std::string_view separator) {
  std::string text;
  for (const std::string& word : words) {
    if (!text.empty()) text += separator;
    text += word;
  }
  return text;
}

std::string first_line(const fs::path& path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

/// The processor, from /proc/cpuinfo.
struct Processor {
  std::string model = "unknown model";
  std::set<std::string> flags;
  std::set<std::string> sockets;
  std::set<std::string> cores;  ///< "socket/core"
  int logical = 0;
};

Processor read_processor() {
  Processor processor;
  std::ifstream info("/proc/cpuinfo");
  std::string socket;
  for (std::string line; std::getline(info, line);) {
    const auto colon = line.find(": ");
    const std::string value = colon == std::string::npos ? "" : line.substr(colon + 2);
    if (line.starts_with("processor")) ++processor.logical;
    if (line.starts_with("model name")) processor.model = value;
    if (line.starts_with("physical id")) processor.sockets.insert(socket = value);
    if (line.starts_with("core id")) processor.cores.insert(socket + "/" + value);
    if (line.starts_with("flags") && processor.flags.empty()) {
      std::istringstream words(value);
      for (std::string word; words >> word;) processor.flags.insert(word);
    }
  }
  return processor;
}

std::string describe_features(const Processor& processor) {
  std::vector<std::string> present;
  std::vector<std::string> absent;
  for (const std::string_view feature : kFeatures) {
    (processor.flags.contains(std::string(feature)) ? present : absent).emplace_back(feature);
  }
  const std::string text = joined(present, " ");
  return absent.empty() ? text : fmt::format("{}; not {}", text, joined(absent, " "));
}

std::string describe_numa() {
  std::vector<std::string> nodes;
  for (int node = 0;; ++node) {
    const std::string cpus = first_line(fmt::format("/sys/devices/system/node/node{}/cpulist", node));
    if (cpus.empty()) break;
    nodes.push_back(fmt::format("node {}: cores {}", node, cpus));
  }
  return nodes.empty() ? "not known" : joined(nodes, "; ");
}

/// Folders of this process's cgroup (version 2) from its own to the root.
std::vector<fs::path> cgroup_folders() {
  const fs::path root = "/sys/fs/cgroup";
  std::vector<fs::path> folders;
  std::ifstream in("/proc/self/cgroup");
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with("0::/")) continue;
    for (fs::path own = line.substr(4); !own.empty(); own = own.parent_path()) folders.push_back(root / own);
  }
  folders.push_back(root);
  return folders;
}

std::optional<double> cgroup_cores() {
  std::optional<double> least;
  for (const fs::path& folder : cgroup_folders()) {
    std::istringstream in(first_line(folder / "cpu.max"));
    double quota = 0.0;
    double period = 0.0;
    if (!(in >> quota >> period) || period <= 0.0) continue;
    if (!least || quota / period < *least) least = quota / period;
  }
  return least;
}

std::string or_none(const std::optional<std::size_t>& bytes, std::string_view none) {
  return bytes ? format_bytes(*bytes) : std::string(none);
}

}  // namespace

HostLimits read_host_limits() {
  HostLimits limits;
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  limits.memory_bytes = static_cast<std::size_t>(::sysconf(_SC_PHYS_PAGES)) * page;
  std::ifstream info("/proc/meminfo");
  for (std::string name, unit; info >> name;) {
    std::size_t kilobytes = 0;
    info >> kilobytes;
    std::getline(info, unit);
    if (name == "MemAvailable:") limits.available_bytes = kilobytes * 1024;
  }
  if (const std::optional<CgroupMemory> cgroup = cgroup_memory("/")) limits.cgroup_bytes = cgroup->limit;
  limits.cgroup_cores = cgroup_cores();
  struct statvfs shm {};
  if (::statvfs("/dev/shm", &shm) == 0) limits.shared_memory = static_cast<std::size_t>(shm.f_blocks) * shm.f_frsize;
  struct rlimit memlock {};
  if (::getrlimit(RLIMIT_MEMLOCK, &memlock) == 0 && memlock.rlim_cur != RLIM_INFINITY) {
    limits.memlock = static_cast<std::size_t>(memlock.rlim_cur);
  }
  return limits;
}

std::vector<int> cores_of_process() {
  std::vector<int> cores;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return cores;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &set)) cores.push_back(core);
  }
  return cores;
}

std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "unknown host";
}

std::vector<ReportLine> describe_host(const HostLimits& limits) {
  const Processor processor = read_processor();
  struct utsname system {};
  ::uname(&system);
  const std::string cgroup_cores = limits.cgroup_cores ? fmt::format("{:g} cores", *limits.cgroup_cores) : "no limit";
  return {
      {"system", fmt::format("{} {} {}", system.sysname, system.release, system.machine)},
      {"processor", processor.model},
      {"cores", fmt::format("{} logical, {} physical, {} socket{}", processor.logical, processor.cores.size(),
                            processor.sockets.size(), processor.sockets.size() == 1 ? "" : "s")},
      {"features", describe_features(processor)},
      {"NUMA", describe_numa()},
      {"memory",
       fmt::format("{}, {} available", format_bytes(limits.memory_bytes), format_bytes(limits.available_bytes))},
      {"cgroup", fmt::format("memory {}, processor {}", or_none(limits.cgroup_bytes, "no limit"), cgroup_cores)},
      {"/dev/shm", or_none(limits.shared_memory, "not mounted")},
      {"memlock", or_none(limits.memlock, "unlimited")},
  };
}

std::vector<ReportLine> describe_process(int threads) {
  const std::vector<int> cores = cores_of_process();
  std::vector<ReportLine> lines = {{"cores", fmt::format("{} ({}), {} thread{}", spell_ranges(cores), cores.size(),
                                                         threads, threads == 1 ? "" : "s")}};
  for (const std::string& variable : steering_variables(environ)) lines.push_back({"variable", variable});
  return lines;
}

std::string spell_ranges(const std::vector<int>& ascending) {
  std::string text;
  for (std::size_t i = 0; i < ascending.size();) {
    std::size_t last = i;
    while (last + 1 < ascending.size() && ascending[last + 1] == ascending[last] + 1) ++last;
    text += fmt::format("{}{}", text.empty() ? "" : ",", ascending[i]);
    if (last > i) text += fmt::format("-{}", ascending[last]);
    i = last + 1;
  }
  return text;
}

std::vector<std::string> steering_variables(const char* const* environment) {
  std::vector<std::string> found;
  for (; *environment != nullptr; ++environment) {
    const std::string_view variable = *environment;
    if (starts_with_any(variable, kPrefixes) && !starts_with_any(variable, kOfLauncher)) found.emplace_back(variable);
  }
  std::ranges::sort(found);
  return found;
}

}  // namespace llama_zero
