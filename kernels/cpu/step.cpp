// The boundary of a step: norm of all ranks, decision, learning rate.
#include <cmath>
#include <cstring>

#include "kernels/cpu/kernels.h"

namespace llama_zero::cpu {

void run(const AdvanceStep& args, const Context&) {
  const double* per_rank = args.per_rank.as<double>();
  double squares = 0.0;
  double not_finite = 0.0;
  for (std::int64_t rank = 0; rank < args.ranks; ++rank) {
    squares += per_rank[2 * rank];
    not_finite += per_rank[2 * rank + 1];
  }
  const auto rows = static_cast<std::int64_t>(args.schedule.bytes() / sizeof(ScheduleRow));
  const auto* schedule = reinterpret_cast<const ScheduleRow*>(args.schedule.raw());
  StepState state;
  std::memcpy(&state, args.state.raw(), sizeof(state));
  advance_step_state(state, args.scaler, std::sqrt(squares), not_finite > 0.0, args.clip, schedule, rows);
  std::memcpy(args.state.raw(), &state, sizeof(state));
}

}  // namespace llama_zero::cpu
