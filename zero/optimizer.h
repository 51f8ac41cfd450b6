// AdamW over what this rank updates: the whole units at stage 0, its shards at stages 1 to 3.
#pragma once

#include <vector>

#include "zero/gradient_store.h"
#include "zero/lr_schedule.h"
#include "zero/param_store.h"
#include "zero/rank_context.h"

namespace llama_zero {

struct AdamWOptions {
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0.0;
};

/// fp32 master, exp_avg and exp_avg_sq, label "optimizer". In fp32 training the weights are the master, at every stage:
/// the optimizer updates them in place and has no third copy.
class ShardedAdamW {
 public:
  ShardedAdamW(const RankContext& context, DType weight_dtype, ParamStore& params);

  /// fp32 master values of what this rank updates, padding included (zero).
  View master(int unit) { return units_[static_cast<std::size_t>(unit)].master; }
  View exp_avg(int unit) { return units_[static_cast<std::size_t>(unit)].exp_avg; }
  View exp_avg_sq(int unit) { return units_[static_cast<std::size_t>(unit)].exp_avg_sq; }

  /// After the masters were set from outside: moments become zero and the model's copy follows (publish is the
  /// caller's).
  void restart(Stream& stream);

  /// One update of every unit, or none when `state` says skip. `state` u8 [sizeof(StepState)] on the device.
  void update(GradientStore& gradients, ConstView state, const AdamWOptions& options, Stream& stream);

 private:
  struct UnitState {
    View master, exp_avg, exp_avg_sq;
    View weights;  ///< the model's 16-bit copy; absent when the master is the weight
  };

  const RankContext& context_;
  std::vector<UnitState> units_;
};

/// The step's decision on the device: norm, overflow, clip factor, loss scale, schedule row. Label "step state".
class StepBoundary {
 public:
  StepBoundary(const RankContext& context, const std::vector<ScheduleRow>& schedule, const LossScalerConfig& scaler,
               double clip, Stream& stream);

  ConstView state() const { return state_; }
  /// fp32 [1]: where the backward seed reads the current scale.
  ConstView loss_scale() const;
  /// Collective: squares of every own shard in unit order, ranks added in rank order, state advanced.
  void advance(GradientStore& gradients, Stream& stream);
  /// Waits for `stream` and returns the state. On a null device the last value known.
  StepState read(Stream& stream);
  /// Replaces the state, e.g. from a checkpoint.
  void write(const StepState& state, Stream& stream);

 private:
  const RankContext& context_;
  LossScalerConfig scaler_;
  double clip_;
  StepState host_state_;
  View state_, schedule_, own_squares_, all_squares_;
};

}  // namespace llama_zero
