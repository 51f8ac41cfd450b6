// One flat range of an update, wherever it lies.
#pragma once

#include <vector>

#include "kernels/ops.h"
#include "zero/optimizer_options.h"

namespace llama_zero {

/// A flat range with what its update reads and writes; `states` in the order of state_names().
struct OptimizerRange {
  View master;
  std::vector<View> states;
  ConstView gradient;
  View weights;          ///< may be absent
  ConstView step_state;  ///< u8 [sizeof(StepState)]
};

/// One update of the range by the op of options.kind, with `weight_decay` in place of the options'.
void update_range(Ops& ops, const OptimizerOptions& options, double weight_decay, const OptimizerRange& range,
                  Stream& stream);

}  // namespace llama_zero
