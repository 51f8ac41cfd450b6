// The host as a rank sees it: processor, memory, limits, what the environment asks for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace llama_zero {

/// A fact as a line of the report: "memory", "23.4 GB, 21.0 GB available".
struct ReportLine {
  std::string label;
  std::string text;
};

/// DeepSpeed and PyTorch want this much shared memory; so do MPI and NCCL for ranks of one host.
inline constexpr std::size_t kWantedSharedMemory = std::size_t{512} << 20U;

struct HostLimits {
  std::size_t memory_bytes = 0, available_bytes = 0;
  std::optional<std::size_t> cgroup_bytes;   ///< none: no limit
  std::optional<double> cgroup_cores;        ///< none: no limit
  std::optional<std::size_t> shared_memory;  ///< size of /dev/shm; none: not mounted
  std::optional<std::size_t> memlock;        ///< none: unlimited
};
HostLimits read_host_limits();

std::string host_name();

/// Cores that this process may use, ascending.
std::vector<int> cores_of_process();

/// Lines of this host: system, processor and its features, cores, NUMA, memory, cgroup, /dev/shm, memlock.
std::vector<ReportLine> describe_host(const HostLimits& limits);

/// Lines of this process: cores it may use and its threads, then every variable that steers MPI, OpenMP, NCCL or CUDA.
std::vector<ReportLine> describe_process(int threads);

/// "0-3,8": cores in ascending order.
std::string spell_ranges(const std::vector<int>& ascending);

/// Variables of `environment` ("NAME=value", null-terminated) by which a user steers MPI, OpenMP, NCCL or CUDA, sorted;
/// without those that mpirun sets for its own ends.
std::vector<std::string> steering_variables(const char* const* environment);

}  // namespace llama_zero
