// Which change makes a run fit that does not: found by replay, each with the figure it gives.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "launcher/plan_case.h"

namespace llama_zero {

struct AdviceLine {
  std::string change;     ///< "zero_optimization.stage 2"
  std::size_t bytes = 0;  ///< of a rank's device, with the change
  bool fits = false;
};

struct Advice {
  /// Each kind of change on its own, in the order in which a user would rather try them: a higher stage, checkpointing,
  /// smaller passes, offload, more ranks. Of each kind the mildest change that fits, or the strongest when none does.
  std::vector<AdviceLine> alone;
  /// Only when no line of `alone` fits: changes one on top of the other, until it fits or there is none left.
  std::vector<AdviceLine> together;
};

/// Peak bytes of a rank's device.
using Replay = std::function<std::size_t(const PlanCase&)>;

/// `replay` of `plan_case` is more than `capacity_bytes`.
Advice advise(const PlanCase& plan_case, std::size_t capacity_bytes, const Replay& replay);

/// "it would fit with zero_optimization.stage 2 (1.25 GB)", "it would fit with ... and ...", or that nothing makes it
/// fit.
std::string in_a_sentence(const Advice& advice);

}  // namespace llama_zero
