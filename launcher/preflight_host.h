// What a host has left for a run: memory, page-locked memory, shared memory, disk.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "core/files.h"

namespace llama_zero {

/// The cgroup that leaves this process the least memory; bytes.
struct CgroupMemory {
  std::size_t limit = 0;
  std::size_t used = 0;  ///< without the page cache, which gives way
  std::size_t free() const { return limit > used ? limit - used : 0; }
};

/// None: unlimited, or not known.
struct HostFacts {
  std::optional<CgroupMemory> cgroup;
  std::optional<std::size_t> available;      ///< MemAvailable; some hosts give more when it is used
  std::optional<std::size_t> memlock;        ///< RLIMIT_MEMLOCK of a process
  std::optional<std::size_t> shared_memory;  ///< free in /dev/shm
  std::optional<std::size_t> disk;           ///< free for this user where the run's folder is or will be
};

/// The tightest memory limit of this process's cgroups, of version 1 and 2, its own and those above. `root`: "/".
std::optional<CgroupMemory> cgroup_memory(const fs::path& root);

/// Reads /proc and /sys below `root`, "/" but in tests. Elsewhere files root/memlock, root/shm and root/disk with a
/// number of bytes, where they are, answer for the system.
HostFacts read_host_facts(const fs::path& root, const fs::path& run_folder);

/// "/", or what the variable LLAMA_ZERO_TEST_HOST_ROOT says.
fs::path host_root();

}  // namespace llama_zero
