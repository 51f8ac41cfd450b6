// flops_profiler: the text that DeepSpeed's profiler prints, from a profile of one global step on one rank.
#pragma once

#include <cstdint>
#include <string>

#include "launcher/monitor/module_profile.h"
#include "launcher/monitor/monitor_config.h"

namespace llama_zero {

struct FlopsFigures {
  std::int64_t step = 0;  ///< 1-based
  int ranks = 1;
  std::int64_t micro_batch = 0;
  std::int64_t samples = 0;  ///< of the whole step, all ranks; DeepSpeed counts one micro-step's
  double forward_ms = 0.0, backward_ms = 0.0, update_ms = 0.0;
  ModuleProfile model;
};

/// "1.23 M", with two decimals at most and the unit that keeps the figure at 1 or above: T, G, M, K, none, m, u.
std::string short_number(double value);

/// The profile; ends with a newline. bwd flops are (2 + recompute_fwd_factor) x fwd flops.
std::string flops_report(const FlopsFigures& figures, const FlopsProfilerConfig& config);

}  // namespace llama_zero
