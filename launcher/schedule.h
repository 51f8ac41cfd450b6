// The config's scheduler section as the table that the optimizer step reads.
#pragma once

#include <string>
#include <vector>

#include "kernels/step_state.h"
#include "launcher/config.h"

namespace llama_zero {

/// Row s - 1: learning rate, betas and bias corrections of applied update s, for all `config.total_steps` updates.
std::vector<ScheduleRow> schedule_rows(const TrainConfig& config);

/// One line for the header: "WarmupDecayLR: first 0, peak 0.002 at update 52, last 1.1e-05; updates 1 to 2 run with
/// learning rate 0, as in DeepSpeed".
std::string describe_schedule(const TrainConfig& config, const std::vector<ScheduleRow>& rows);

}  // namespace llama_zero
