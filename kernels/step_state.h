// The small struct on the device that carries an optimizer step: loss scale, overflow, norm, learning rate, counters.
//
// It is advanced by `advance_step_state` on the stream that computes, so a step needs no host synchronisation; the host
// reads a copy one step late. The same function is compiled for the CPU and for CUDA.
//
// Sources: DeepSpeed's DynamicLossScaler (ZeRO stages 1-3) and its clipping rule; Loshchilov and Hutter, "Decoupled
// Weight Decay Regularization", ICLR 2019, algorithm 2; Kingma and Ba, "Adam", ICLR 2015, algorithm 1 (bias correction).
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define LLAMA_ZERO_HD __host__ __device__
#else
#define LLAMA_ZERO_HD
#endif

namespace llama_zero {

/// How the loss scale moves; the words are those of DeepSpeed's "fp16" section.
struct LossScalerConfig {
  bool check_overflow = false;   ///< skip a step whose gradients are not finite
  bool dynamic = false;          ///< false: `initial_scale` stays
  bool consecutive_hysteresis = false;
  float initial_scale = 1.0F;
  float min_loss_scale = 1.0F;
  std::int32_t window = 1000;    ///< clean steps between doublings
  std::int32_t hysteresis = 2;   ///< overflows spent before the scale falls
  std::int32_t max_skips_in_a_row = 0;  ///< the run stops when it has skipped so many steps in a row; 0: no limit
};

/// Plain data, the same layout on host and device.
struct StepState {
  // The state machine, carried from step to step.
  float loss_scale = 1.0F;
  std::int32_t hysteresis_left = 1;
  std::int64_t iteration = 0;        ///< optimizer steps tried, skipped ones included
  std::int64_t last_overflow = -1;   ///< iteration of the last overflow
  std::int64_t applied_steps = 0;    ///< updates applied: Adam's step count and the scheduler's clock
  std::int64_t skipped_steps = 0;
  std::int32_t skips_in_a_row = 0;   ///< up to the last step
  // Results of the last step.
  std::int32_t skip = 0;             ///< 1: the gradients were not finite, nothing was updated
  std::int32_t scale_exhausted = 0;  ///< 1: overflow with the scale already at its minimum (DeepSpeed raises here)
  std::int32_t too_many_skips = 0;   ///< 1: max_skips_in_a_row is reached
  float used_loss_scale = 1.0F;      ///< the scale that the gradients of this step carry
  double grad_norm = 0.0;            ///< L2 norm of the averaged, unscaled, unclipped gradients
  float grad_multiplier = 1.0F;      ///< unscale and clip in one factor, applied by the optimizer
  // Row of the update that is being applied, copied from the schedule table; an op rounds it to its arithmetic type.
  double lr = 0.0;
  double bias_correction1 = 1.0;
  double bias_correction2_sqrt = 1.0;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double lr_divisor = 1.0;
};

/// One row of the schedule table, computed on the host in fp64: what applied update s (row s - 1) uses.
struct ScheduleRow {
  double lr = 0.0;
  double bias_correction1 = 1.0;       ///< 1 - beta1^s
  double bias_correction2_sqrt = 1.0;  ///< sqrt(1 - beta2^s)
  double beta1 = 0.9;                  ///< Adam's and Lion's coefficients
  double beta2 = 0.999;
  double lr_divisor = 1.0;  ///< Adagrad's 1 + (s - 1) * lr_decay
};

LLAMA_ZERO_HD inline StepState initial_step_state(const LossScalerConfig& config) {
  StepState state;
  state.loss_scale = config.initial_scale;
  state.used_loss_scale = config.initial_scale;
  state.hysteresis_left = config.hysteresis;
  return state;
}

/// The factor that unscales and clips: 1 / (S * max(1, (norm + 1e-6) / clip)), in fp64 and rounded once; clip <= 0: none.
LLAMA_ZERO_HD inline float grad_multiplier(double unscaled_norm, double loss_scale, double clip) {
  double divisor = loss_scale;
  if (clip > 0.0) {
    const double excess = (unscaled_norm + 1e-6) / clip;
    if (excess > 1.0) divisor *= excess;
  }
  return static_cast<float>(1.0 / divisor);
}

/// Moves the loss scale after one step. DeepSpeed 0.19's order: overflow spends hysteresis before it halves; clean steps
/// double after `window` of them; the iteration always counts.
LLAMA_ZERO_HD inline void update_loss_scale(StepState& state, const LossScalerConfig& config, bool overflow) {
  state.scale_exhausted = 0;
  if (config.dynamic) {
    if (overflow) {
      if (config.hysteresis == 1 || state.hysteresis_left == 1) {
        if (state.loss_scale == config.min_loss_scale) state.scale_exhausted = 1;
        const float halved = state.loss_scale / 2.0F;
        state.loss_scale = halved > config.min_loss_scale ? halved : config.min_loss_scale;
      } else {
        state.hysteresis_left -= 1;
      }
      state.last_overflow = state.iteration;
    } else {
      if (config.consecutive_hysteresis) state.hysteresis_left = config.hysteresis;
      const std::int64_t clean = state.iteration - state.last_overflow - 1;
      if (clean > 0 && clean % config.window == 0) {
        state.loss_scale *= 2.0F;
        if (!config.consecutive_hysteresis) state.hysteresis_left = config.hysteresis;
      }
    }
  }
  state.iteration += 1;
}

/// A state from which no step goes on: a step that the host gave before it knew leaves everything as it is.
LLAMA_ZERO_HD inline bool is_stopped(const StepState& state) {
  return state.scale_exhausted != 0 || state.too_many_skips != 0;
}

/// The state that a run goes on from when it loads a saved one: what stopped the run that saved it is history.
LLAMA_ZERO_HD inline StepState resumed(StepState saved) {
  if (is_stopped(saved)) saved.skips_in_a_row = 0;
  saved.scale_exhausted = 0;
  saved.too_many_skips = 0;
  return saved;
}

/// One boundary: `sum_of_squares` of the averaged, still scaled gradients of all ranks, and whether any was not finite.
/// Unscales with the scale that backward used (DeepSpeed issue 8588 is not copied), then moves the scale.
/// `schedule` has at least applied_steps + 1 rows, or `rows` of them, the last of which then repeats.
LLAMA_ZERO_HD inline void advance_step_state(StepState& state, const LossScalerConfig& config, double norm_of_scaled,
                                             bool non_finite, double clip, const ScheduleRow* schedule,
                                             std::int64_t rows) {
  if (is_stopped(state)) {
    state.skip = 1;
    return;
  }
  // Finite gradients whose squares are not: their norm says nothing, so neither clipping nor the update would be right.
  const bool finite_norm = norm_of_scaled - norm_of_scaled == 0.0;
  const bool overflow = config.check_overflow && (non_finite || !finite_norm);
  state.used_loss_scale = state.loss_scale;
  state.skip = overflow ? 1 : 0;
  state.grad_norm = norm_of_scaled / static_cast<double>(state.loss_scale);
  state.grad_multiplier = grad_multiplier(state.grad_norm, static_cast<double>(state.loss_scale), clip);
  const std::int64_t row = state.applied_steps < rows ? state.applied_steps : rows - 1;
  state.lr = schedule[row].lr;
  state.bias_correction1 = schedule[row].bias_correction1;
  state.bias_correction2_sqrt = schedule[row].bias_correction2_sqrt;
  state.beta1 = schedule[row].beta1;
  state.beta2 = schedule[row].beta2;
  state.lr_divisor = schedule[row].lr_divisor;
  if (overflow) {
    state.skipped_steps += 1;
    state.skips_in_a_row += 1;
    if (config.max_skips_in_a_row > 0 && state.skips_in_a_row >= config.max_skips_in_a_row) state.too_many_skips = 1;
  } else {
    state.applied_steps += 1;
    state.skips_in_a_row = 0;
  }
  update_loss_scale(state, config, overflow);
}

}  // namespace llama_zero
