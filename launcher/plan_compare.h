// llama_zero plan --compare: the memory of standard training beside ZeRO's stages and offload, on 1 to 8 ranks.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "launcher/plan_command.h"

namespace llama_zero {

/// What a rank needs at its peak; bytes.
struct PlanCell {
  std::size_t device = 0, host = 0;
};

struct PlanComparison {
  struct Row {
    std::string name;             ///< "ZeRO-2 + optimizer on the host"
    std::vector<PlanCell> cells;  ///< by rank count
  };
  PlanResult base;  ///< the run as it was described, its passes as large as its memory would allow
  std::optional<std::size_t> memory_bytes;  ///< of a device; none: not known, or the CPU's
  std::vector<int> ranks;
  std::vector<Row> rows;
};

/// The run of `arguments` under every stage and offload, on 1, 2, 4 and 8 ranks: micro-batch, accumulation and passes
/// stay, train_batch_size follows the ranks. Throws as make_plan.
PlanComparison compare_plans(const PlanArguments& arguments);

/// Device memory of a rank, cells that are more than there is marked; then host memory of a rank beside it, where there
/// is any; then the lab's formulas.
std::string format_comparison(const PlanComparison& comparison);

}  // namespace llama_zero
