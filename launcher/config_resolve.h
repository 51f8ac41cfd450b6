// The steps of resolve(), one subject a file. Each fills what "auto" leaves open in `values` and writes its part of
// `config`.
#pragma once

#include <string>

#include "launcher/config.h"
#include "launcher/config_values.h"

namespace llama_zero {

/// The batch triad: contract of DeepSpeed's batch assertion, Hugging Face's values where it says "auto" or nothing.
/// Writes batch and total_steps.
void resolve_batch(ConfigValues& values, const ResolveFacts& facts, TrainConfig& config);

/// When elasticity is on: decides and writes the batch, fills the three keys and returns true. Throws Error when the
/// batch keys are given too, or the rank count does not fit.
bool resolve_elasticity(ConfigValues& values, std::int64_t ranks, TrainConfig& config);

/// fp16, bf16, data_types: writes dtype, grad_accum_dtype, scaler. `precision` is ConfigFlags::precision.
void resolve_precision(ConfigValues& values, const std::string& precision, TrainConfig& config);

/// DeepSpeed's conditions for masters, gradients and moments in 16 bits, which are fp32 here; needs dtype and zero.
void check_16_bit_states(const ConfigValues& values, const TrainConfig& config);

/// Writes averaging and gradient_clipping; needs zero.
void resolve_gradients(ConfigValues& values, TrainConfig& config);

/// "half", "Float16", "bf16", ...: a dtype by any of its names in the table.
DType dtype_of(const std::string& word);

/// Writes optimizer, with the rules of combinations.
void resolve_optimizer(ConfigValues& values, const ResolveFacts& facts, TrainConfig& config);

/// Writes schedule; needs optimizer and total_steps.
void resolve_schedule(ConfigValues& values, TrainConfig& config);

/// Writes zero, with the rules of combinations; needs dtype.
void resolve_zero(ConfigValues& values, const ResolveFacts& facts, TrainConfig& config);

/// Writes monitor; needs total_steps.
void resolve_monitor(const ConfigValues& values, TrainConfig& config);

/// The "llama_zero" section, which needs no facts.
RunSection read_run_section(const ConfigValues& values);

/// Every key that is set, was filled, or acts by its default, for the print.
std::vector<ConfigOrigin> collect_origins(const ConfigValues& values);

}  // namespace llama_zero
