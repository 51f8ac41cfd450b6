// One run as the memory planner replays it: what decides its memory, and nothing that needs a GPU, ranks or data.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/arena.h"
#include "core/pass.h"
#include "kernels/ops.h"
#include "launcher/config.h"
#include "model/param_table.h"
#include "zero/engine.h"

namespace llama_zero {

/// Larger passes make larger matrix products; beyond this nothing is gained.
inline constexpr std::int64_t kMostTokensPerPass = 8192;

struct PlanCase {
  EngineOptions engine;
  int ranks = 1;
  bool by_nccl = true;  ///< where each of several ranks has a GPU of its own
  // How a step is cut into passes.
  std::int64_t longest_row = 0;  ///< tokens
  std::int64_t micro_batch = 1;  ///< rows
  std::int64_t accumulation = 1;
  bool coalesce = true;
  std::int64_t max_tokens_per_pass = kMostTokensPerPass;  ///< looked at only when coalescing
  std::int64_t pass_alignment = 256;
  bool can_offload = false;  ///< false on the CPU backend: its device memory is the host's, so offloading saves nothing

  /// The smallest max_tokens_per_pass that holds the longest row.
  std::int64_t least_tokens_per_pass() const;
  /// The next limit to try when the current one does not fit: half of it, aligned, least_tokens_per_pass() at least.
  std::int64_t smaller_tokens_per_pass() const;
};

/// The case of a config on `ranks` ranks; longest_row is the sequence length.
PlanCase plan_case_of(const TrainConfig& config, int ranks, bool can_offload);

/// The largest step that data of any kind can bring: every row has longest_row tokens, in as many documents as rows can
/// meet in a pass. Two passes where there are more, since a third repeats what the second allocates.
std::vector<Pass> largest_step(const PlanCase& plan_case);

/// Memory of one rank at its peak, by label. `host` is what lies in host memory beside the device: offloaded states;
/// on the CPU backend both lie there.
struct MemoryForecast {
  MemoryReport device, host;
};

/// Replays one step of `passes` on the null device.
MemoryForecast forecast_memory(const ParamTable& table, const PlanCase& plan_case, const Ops& sizing,
                               std::span<const Pass> passes);

/// A plan as one report: the ops' workspace is a label like any other.
MemoryReport with_workspace(const MemoryPlan& plan);

}  // namespace llama_zero
