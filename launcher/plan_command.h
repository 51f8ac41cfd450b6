// llama_zero plan: the memory of a run of any size, predicted without a GPU, ranks or data.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "launcher/cli.h"
#include "launcher/plan_advice.h"
#include "launcher/plan_case.h"

namespace llama_zero {

inline std::size_t needed_bytes_of(const MemoryForecast& forecast, const PlanCase& plan_case) {
  return forecast.device.peak_bytes + (plan_case.can_offload ? 0 : forecast.host.peak_bytes);
}

/// What `plan` found.
struct PlanResult {
  std::string model;  ///< name and shape
  TrainConfig config;
  PlanCase plan_case;  ///< with the pass limit that was chosen
  int ranks_per_host = 1;
  std::string backend;
  std::int64_t params = 0, largest_layer = 0;  ///< elements
  MemoryForecast forecast;
  std::optional<std::size_t> memory_bytes;  ///< of a rank; none: no verdict
  Advice advice;                            ///< when it does not fit

  /// What counts against it: device memory, and on the CPU backend the host's, which is the same.
  std::size_t needed_bytes() const { return needed_bytes_of(forecast, plan_case); }
  bool fits() const { return !memory_bytes || needed_bytes() <= *memory_bytes; }
};

/// Throws Error for a config that does not resolve on that many ranks, a model that is not there, a rank count that the
/// hosts do not divide.
PlanResult make_plan(const PlanArguments& arguments);

/// The table, DeepSpeed's and the lab's figures beside it, the verdict and the advice.
std::string format_plan(const PlanResult& plan);

/// Prints it on rank 0; the exit code is 0 also when the run does not fit. Throws as make_plan on every rank.
int run_plan(PlanArguments arguments, int rank, int world_size);

}  // namespace llama_zero
