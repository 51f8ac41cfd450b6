// Stage 3's limits, turned into what is decided before a run: which units stay gathered, which from their forward to
// their backward use, and how many units device memory holds at once. Everything follows from sizes and options alone,
// so all ranks decide alike and the memory plan is exact.
//
// The order of use is that of a pass: embedding, blocks, head, blocks backwards; the head of a tied model reads the
// embedding again. Sizes are elements without padding.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "model/param_table.h"
#include "zero/layout.h"

namespace llama_zero {

inline constexpr std::int64_t kNoElementLimit = std::numeric_limits<std::int64_t>::max();

/// DeepSpeed's stage3_* keys.
struct LeaseOptions {
  /// A unit all of whose parameters have at most this many elements stays gathered ...
  std::int64_t param_persistence_threshold = 0;
  /// ... while such units, in their order, have at most this many in all.
  std::int64_t model_persistence_threshold = kNoElementLimit;
  /// Units are gathered ahead of their use until they have this many elements; the last may overshoot. 0: none.
  std::int64_t prefetch_bucket_size = 0;
  /// Nothing is gathered ahead, or kept for its second use, beyond this many gathered elements.
  std::int64_t max_live_parameters = kNoElementLimit;
  /// A unit with fewer elements than this between its two uses in a pass stays gathered from one to the other.
  std::int64_t max_reuse_distance = 0;
  /// Gathers run beside the computation; else on its stream, when they are needed: nothing is gathered ahead.
  bool overlap = true;
};

/// offload_param: stage 3's shards in host memory.
struct ParamOffload {
  bool enabled = false;
  bool pin_memory = true;
  std::int64_t buffer_count = 5;              ///< most units that the device holds at once, one at least
  std::int64_t buffer_size = 100000000;       ///< elements of one copy to the device
  std::int64_t max_in_cpu = kNoElementLimit;  ///< elements of this rank's shards on the host; the rest: the device
};

/// What the plan is made of: sizes, and what needs no slot or must have one.
struct LeaseProblem {
  const Layout& layout;
  std::vector<bool> resident;  ///< by unit: always there, whole
  bool tied = false;           ///< the head reads the embedding too: two units at once
};

struct LeasePlan {
  std::vector<bool> kept;          ///< by unit: stays from its first to its second use of a pass, in a slot of its own
  int slots = 0;                   ///< of the other units that are not resident: how many are there at once
  std::int64_t slot_elements = 0;  ///< of the largest of these, with padding
};

/// Which units stay gathered under the thresholds.
std::vector<bool> persistent_units(const ParamTable& table, const LeaseOptions& options);

/// `most_slots`: ParamOffload::buffer_count, or no limit.
LeasePlan plan_leases(const LeaseProblem& problem, const LeaseOptions& options, std::int64_t most_slots);

/// Not empty when max_live_parameters is less than the largest unit, which has to be gathered to be used: what is used.
std::string live_limit_warning(const ParamTable& table, std::int64_t max_live_parameters);

}  // namespace llama_zero
