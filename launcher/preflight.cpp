#include "launcher/preflight.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/arena.h"

namespace llama_zero {
namespace {

/// For the rings of NCCL and the mailboxes of Open MPI.
constexpr std::size_t kSharedMemoryOfRank = std::size_t{32} << 20U;

std::string ranks_of(const HostNeeds& needs) {
  return needs.ranks == 1 ? std::string("this run needs") : fmt::format("the {} ranks of this host need", needs.ranks);
}

std::string describe(const DiskNeeds& disk) {
  std::string text = fmt::format("a final model of {}", format_bytes(disk.final_model));
  if (disk.checkpoints > 0) {
    text = fmt::format("{} checkpoint{} of {} at once, {}", disk.checkpoints, disk.checkpoints == 1 ? "" : "s",
                       format_bytes(disk.checkpoint), text);
  }
  return text;
}

void check_memory(const HostFacts& facts, const HostNeeds& needs, Findings& findings) {
  constexpr std::string_view kFix = "a smaller micro-batch or a higher stage needs less (llama_zero plan), ";
  if (facts.cgroup && needs.memory > facts.cgroup->free()) {
    findings.refusals.push_back(fmt::format(
        "host memory: {} {}, but the cgroup's limit of {} leaves {}; {}or raise the limit (docker run --memory, "
        "memory.max)",
        ranks_of(needs), format_bytes(needs.memory), format_bytes(facts.cgroup->limit),
        format_bytes(facts.cgroup->free()), kFix));
    return;
  }
  if (facts.available && needs.memory > *facts.available) {
    findings.warnings.push_back(
        fmt::format("host memory: {} {}, but only {} is available (MemAvailable); {}or end what else runs here",
                    ranks_of(needs), format_bytes(needs.memory), format_bytes(*facts.available), kFix));
  }
}

void check_locked_and_shared(const HostFacts& facts, const HostNeeds& needs, Findings& findings) {
  if (facts.memlock && needs.pinned > *facts.memlock) {
    findings.warnings.push_back(fmt::format(
        "page-locked memory: a rank wants {}, but RLIMIT_MEMLOCK is {}; ulimit -l unlimited (containers: --ulimit "
        "memlock=-1)",
        format_bytes(needs.pinned), format_bytes(*facts.memlock)));
  }
  const std::size_t shared = needs.ranks > 1 ? static_cast<std::size_t>(needs.ranks) * kSharedMemoryOfRank : 0;
  if (shared > facts.shared_memory.value_or(0)) {
    findings.warnings.push_back(fmt::format(
        "/dev/shm: the {} ranks of this host want {} for NCCL and MPI, but {} is free; remove old files there or make "
        "it larger (docker run --shm-size=1g)",
        needs.ranks, format_bytes(shared), format_bytes(facts.shared_memory.value_or(0))));
  }
}

void check_disk(const HostFacts& facts, const HostNeeds& needs, Findings& findings) {
  if (!needs.writes || !facts.disk) return;
  const auto line = [&](const DiskNeeds& disk, std::string_view verb) {
    return fmt::format(
        "disk: the run {} {} ({}), but {} has {} free; free space, keep fewer (--keep), or give --output another disk",
        verb, format_bytes(disk.peak()), describe(disk), needs.folder, format_bytes(*facts.disk));
  };
  DiskNeeds certain = needs.disk;
  if (!certain.certain) certain.checkpoints = certain.kept = 0;
  if (certain.peak() > *facts.disk) {
    findings.refusals.push_back(line(certain, "writes"));
  } else if (needs.disk.peak() > *facts.disk) {
    findings.warnings.push_back(line(needs.disk, "may write"));
  }
}

}  // namespace

std::size_t DiskNeeds::peak() const {
  return std::max(static_cast<std::size_t>(checkpoints) * checkpoint,
                  static_cast<std::size_t>(kept) * checkpoint + final_model);
}

DiskNeeds disk_needs(std::size_t checkpoint, std::size_t final_model, const SaveInterval& interval,
                     std::int64_t first_step, std::int64_t last_step, std::int64_t keep, std::int64_t present) {
  DiskNeeds needs{checkpoint, final_model, 0, 0, interval.seconds <= 0.0};
  // The newest one is complete before the oldest one goes.
  const std::int64_t room = std::max<std::int64_t>(0, keep - present);
  if (interval.seconds > 0.0) {
    needs.kept = keep == 0 ? 1 : room;
    needs.checkpoints = keep == 0 ? 1 : room + 1;
  } else if (interval.steps > 0) {
    const std::int64_t saves = std::max<std::int64_t>(0, last_step / interval.steps - first_step / interval.steps);
    needs.kept = keep == 0 ? saves : std::min(saves, room);
    needs.checkpoints = keep == 0 ? saves : std::min(saves, room + 1);
  }
  return needs;
}

Findings check_host(const HostFacts& facts, const HostNeeds& needs) {
  Findings findings;
  check_memory(facts, needs, findings);
  check_locked_and_shared(facts, needs, findings);
  check_disk(facts, needs, findings);
  return findings;
}

}  // namespace llama_zero
