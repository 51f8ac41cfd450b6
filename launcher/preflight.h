// Before a run takes anything: whether its hosts have what it will need.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "launcher/preflight_host.h"
#include "launcher/runtime.h"
#include "launcher/save_interval.h"
#include "launcher/train_setup.h"

namespace llama_zero {

/// What a run writes, in bytes.
struct DiskNeeds {
  std::size_t checkpoint = 0;  ///< one
  std::size_t final_model = 0;
  std::int64_t checkpoints = 0;  ///< that lie there at once, beside those that are there already
  std::int64_t kept = 0;         ///< of these when the final model is written
  bool certain = true;           ///< false: how many there will be depends on the time that steps take

  /// The most at any time.
  std::size_t peak() const;
};

/// `steps`: what is left of the run; `present`: complete checkpoints in its folder; `keep` 0: all stay.
DiskNeeds disk_needs(std::size_t checkpoint, std::size_t final_model, const SaveInterval& interval,
                     std::int64_t first_step, std::int64_t last_step, std::int64_t keep, std::int64_t present);

/// Of one host, its ranks together.
struct HostNeeds {
  int ranks = 0;
  std::size_t memory = 0;  ///< of the host, beyond what the processes have now
  std::size_t pinned = 0;  ///< page-locked, the most of a rank
  bool writes = false;     ///< the host whose rank writes the run's files
  DiskNeeds disk;
  std::string folder;  ///< where
};

/// Each a line with the numbers and what to do.
struct Findings {
  std::vector<std::string> refusals, warnings;
};

/// What a host lacks. A cgroup's limit and the disk for what is certainly written refuse; what the system may find or
/// do without only warns: available memory, page-locked memory, /dev/shm, checkpoints that time decides about.
Findings check_host(const HostFacts& facts, const HostNeeds& needs);

/// Collective. Checks every host for this rank's run, which will use `folder`. Logs the warnings; throws AgreedError
/// with everything that refuses, in one line.
void preflight(const TrainSetup& setup, const Runtime& runtime, const fs::path& folder, std::int64_t steps_before);

}  // namespace llama_zero
