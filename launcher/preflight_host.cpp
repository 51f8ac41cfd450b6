#include "launcher/preflight_host.h"

#include <sys/resource.h>
#include <sys/statvfs.h>

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string_view>
#include <vector>

namespace llama_zero {
namespace {

/// The number that a file begins with; none for "max" and for no file.
std::optional<std::size_t> number_in(const fs::path& path) {
  std::ifstream in(path);
  std::size_t value = 0;
  if (!(in >> value)) return std::nullopt;
  return value;
}

/// The value of a line "name value" or "name: value kB"; 0 where there is none.
std::size_t field_of(const fs::path& path, std::string_view name) {
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with(name)) continue;
    const std::string value = line.substr(name.size());
    if (!value.starts_with(' ') && !value.starts_with(':')) continue;
    return std::strtoull(value.c_str() + 1, nullptr, 10);
  }
  return 0;
}

/// The files of one version.
struct CgroupFiles {
  std::string_view mount, limit, used, inactive, active;
};
constexpr CgroupFiles kVersion1 = {"sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
                                   "total_inactive_file", "total_active_file"};
constexpr CgroupFiles kVersion2 = {"sys/fs/cgroup", "memory.max", "memory.current", "inactive_file", "active_file"};
/// Version 1 spells "no limit" as the largest multiple of a page.
constexpr std::size_t kNoLimit = std::size_t{1} << 60U;

void keep_tightest(const CgroupFiles& files, const fs::path& folder, std::optional<CgroupMemory>& tightest) {
  const std::optional<std::size_t> limit = number_in(folder / files.limit);
  if (!limit || *limit >= kNoLimit) return;
  const std::size_t used = number_in(folder / files.used).value_or(0);
  const std::size_t cache =
      field_of(folder / "memory.stat", files.inactive) + field_of(folder / "memory.stat", files.active);
  const CgroupMemory found{*limit, used > cache ? used - cache : 0};
  if (!tightest || found.free() < tightest->free()) tightest = found;
}

/// A cgroup's folder and those above; in a container only those that its own namespace shows are there.
void visit_from(const CgroupFiles& files, const fs::path& root, fs::path own, std::optional<CgroupMemory>& tightest) {
  const fs::path mount = root / files.mount;
  for (; !own.empty(); own = own.parent_path()) keep_tightest(files, mount / own, tightest);
  keep_tightest(files, mount, tightest);
}

std::optional<std::size_t> free_in(const fs::path& path) {
  struct statvfs system {};
  if (::statvfs(path.c_str(), &system) != 0) return std::nullopt;
  return static_cast<std::size_t>(system.f_bavail) * system.f_frsize;
}

std::optional<std::size_t> memlock_limit() {
  struct rlimit limit {};
  if (::getrlimit(RLIMIT_MEMLOCK, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return std::nullopt;
  return static_cast<std::size_t>(limit.rlim_cur);
}

/// A folder that will be made takes its space where its nearest ancestor is.
fs::path nearest_existing(const fs::path& path) {
  std::error_code error;
  fs::path at = fs::absolute(path, error);
  while (!fs::exists(at, error) && at.has_relative_path()) at = at.parent_path();
  return at;
}

}  // namespace

std::optional<CgroupMemory> cgroup_memory(const fs::path& root) {
  std::optional<CgroupMemory> tightest;
  std::ifstream in(root / "proc/self/cgroup");
  for (std::string line; std::getline(in, line);) {
    // hierarchy:controllers:/path
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(":/", first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const fs::path own = line.substr(second + 2);
    if (controllers.empty()) visit_from(kVersion2, root, own, tightest);
    if (("," + controllers + ",").find(",memory,") != std::string::npos) visit_from(kVersion1, root, own, tightest);
  }
  return tightest;
}

HostFacts read_host_facts(const fs::path& root, const fs::path& run_folder) {
  HostFacts facts;
  facts.cgroup = cgroup_memory(root);
  if (const std::size_t kilobytes = field_of(root / "proc/meminfo", "MemAvailable"); kilobytes > 0) {
    facts.available = kilobytes * 1024;
  }
  const bool real = root == "/";
  facts.memlock = real ? std::nullopt : number_in(root / "memlock");
  facts.shared_memory = real ? std::nullopt : number_in(root / "shm");
  facts.disk = real ? std::nullopt : number_in(root / "disk");
  if (!facts.memlock) facts.memlock = memlock_limit();
  if (!facts.shared_memory) facts.shared_memory = free_in("/dev/shm");
  if (!facts.disk) facts.disk = free_in(nearest_existing(run_folder));
  return facts;
}

fs::path host_root() {
  const char* root = std::getenv("LLAMA_ZERO_TEST_HOST_ROOT");
  return root == nullptr ? "/" : root;
}

}  // namespace llama_zero
