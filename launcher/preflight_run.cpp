// Preflight of a training run: what its ranks need, host by host.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <set>
#include <sstream>

#include "core/log.h"
#include "launcher/plan_place.h"
#include "launcher/preflight.h"
#include "launcher/report_host.h"
#include "launcher/train_finish.h"
#include "zero/checkpoint/folder.h"
#include "zero/checkpoint/shard_map.h"

namespace llama_zero {
namespace {

/// Two slots of a chunk each way (zero/host_staging.h on a GPU).
constexpr std::size_t kStagingBytes = std::size_t{4} * (std::size_t{8} << 20U);
/// Manifest, config and tokenizer of a checkpoint or a model.
constexpr std::size_t kSmallFiles = std::size_t{2} << 20U;

std::size_t bytes_of_elements(std::int64_t elements) { return static_cast<std::size_t>(elements) * sizeof(float); }

std::int64_t states_of(const TrainSetup& setup) {
  return 1 + std::ssize(state_names(setup.engine.optimizer));  // the master's values
}

std::size_t checkpoint_copy(const TrainSetup& setup, const Runtime& runtime) {
  if (setup.config.run.save_interval == "none") return 0;
  std::vector<std::int64_t> numels;
  for (const Unit& unit : setup.table->units()) numels.push_back(unit.numel);
  const ShardMap map(numels, static_cast<int>(states_of(setup)), runtime.ranks());
  return bytes_of_elements(map.elements(runtime.rank()));
}

/// What of the plan's host memory is to be page-locked.
std::size_t pinned_bytes(const TrainSetup& setup) {
  const ZeroConfig& zero = setup.config.zero;
  std::size_t bytes = 0;
  for (const auto& [label, size] : setup.plan.host.at_peak) {
    const bool pageable = label == "host weights"
                              ? !zero.offload_param.pin_memory
                              : label != "host activations" && zero.offload_optimizer.memory == HostMemory::kPageable;
    if (!pageable) bytes += size;
  }
  return bytes;
}

/// What one rank tells the others: "host memory pinned".
std::string needs_of_rank(const TrainSetup& setup, const Runtime& runtime) {
  const DeviceType device = runtime.device().type();
  const bool on_gpu = device == DeviceType::kCuda;
  const std::size_t step = bytes_on_host(setup.plan, device);
  const std::size_t staging = on_gpu && runtime.ranks() > 1 ? kStagingBytes : 0;
  const std::size_t pinned = staging + (on_gpu ? pinned_bytes(setup) : 0);
  return fmt::format("{} {} {}", host_name(), step + checkpoint_copy(setup, runtime) + staging, pinned);
}

std::string host_of(const std::string& line) { return line.substr(0, line.find(' ')); }

/// Of this rank's host, from every rank's line.
HostNeeds needs_of_host(const std::vector<std::string>& lines) {
  HostNeeds needs;
  for (const std::string& line : lines) {
    if (host_of(line) != host_name()) continue;
    std::istringstream in(line);
    std::string host;
    std::size_t memory = 0, pinned = 0;
    in >> host >> memory >> pinned;
    needs.ranks += 1;
    needs.memory += memory;
    needs.pinned = std::max(needs.pinned, pinned);
  }
  return needs;
}

DiskNeeds disk_of(const TrainSetup& setup, const fs::path& folder, std::int64_t steps_before) {
  const auto parameters = static_cast<std::size_t>(setup.table->total_numel());
  const auto present = std::ssize(CheckpointRoot(RunFolder(folder).checkpoints()).steps());
  const std::size_t model = setup.config.run.export_model ? parameters * size_of(export_dtype_of(setup.config)) : 0;
  return disk_needs(bytes_of_elements(setup.table->total_numel() * states_of(setup)) + kSmallFiles, model + kSmallFiles,
                    parse_save_interval(setup.config.run.save_interval), steps_before, setup.config.total_steps,
                    setup.config.run.keep, present);
}

/// "-" and "!" begin the lines of warnings and refusals.
std::string text_of(const Findings& findings) {
  std::string text;
  for (const std::string& line : findings.warnings) text += "-" + line + "\n";
  for (const std::string& line : findings.refusals) text += "!" + line + "\n";
  return text;
}

}  // namespace

void preflight(const TrainSetup& setup, const Runtime& runtime, const fs::path& folder, std::int64_t steps_before) {
  const HostGroup& group = runtime.group();
  const std::vector<std::string> lines = group.from_all(needs_of_rank(setup, runtime));
  std::set<std::string> hosts;
  bool speaks = false;  // the first rank of each host
  for (std::size_t rank = 0; rank < lines.size(); ++rank) {
    const bool first = hosts.insert(host_of(lines[rank])).second;
    if (static_cast<int>(rank) == runtime.rank()) speaks = first;
  }
  std::string mine;
  group.together([&] {
    if (!speaks) return;
    HostNeeds needs = needs_of_host(lines);
    needs.writes = runtime.rank() == 0;
    if (needs.writes) needs.disk = disk_of(setup, folder, steps_before);
    needs.folder = folder.string();
    mine = text_of(check_host(read_host_facts(host_root(), folder), needs));
  });
  const std::vector<std::string> all = group.from_all(mine);
  std::string refusal;
  for (std::size_t rank = 0; rank < all.size(); ++rank) {
    const std::string where = hosts.size() > 1 ? host_of(lines[rank]) + ": " : std::string();
    std::istringstream in(all[rank]);
    for (std::string line; std::getline(in, line);) {
      const std::string message = where + line.substr(1);
      if (line.starts_with('!')) {
        refusal += (refusal.empty() ? "" : "; ") + message;
      } else if (runtime.rank() == 0) {
        log::warning("{}", message);
      }
    }
  }
  if (!refusal.empty()) throw AgreedError(refusal);
}

}  // namespace llama_zero
