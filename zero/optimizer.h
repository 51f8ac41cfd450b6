// The optimizer over what this rank updates: the whole units at stage 0, its shards at stages 1 to 3.
#pragma once

#include <string_view>
#include <vector>

#include "model/param_table.h"
#include "zero/gradient_store.h"
#include "zero/lr_schedule.h"
#include "zero/optimizer_options.h"
#include "zero/param_store.h"
#include "zero/rank_context.h"

namespace llama_zero {

/// The ranges of every unit whose elements decay, and those that norms and embeddings exempt, in order and without
/// gaps; neighbours that decay alike are one range.
std::vector<std::vector<DecayRange>> decay_ranges(const ParamTable& table);

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

/// fp32 master and the states that the optimizer's kind has (zero/optimizer_options.h), label "optimizer". In fp32
/// training the weights are the master, at every stage: the optimizer updates them in place and has no copy of them.
class ShardedOptimizer {
 public:
  /// `ranges` as decay_ranges() gives them, for options.exempt_norms_and_embeddings; else not used.
  ShardedOptimizer(const RankContext& context, DType weight_dtype, ParamStore& params, const OptimizerOptions& options,
                   std::vector<std::vector<DecayRange>> ranges = {});

  const OptimizerOptions& options() const { return options_; }
  /// Names of the states of every unit, in the order of `state`.
  const std::vector<std::string_view>& names() const { return names_; }

  /// fp32 master values of what this rank updates, padding included (zero).
  View master(int unit) { return units_[static_cast<std::size_t>(unit)].master; }
  /// fp32, the same elements: state `index` of names().
  View state(int unit, std::size_t index) { return units_[static_cast<std::size_t>(unit)].states[index]; }

  /// After the masters were set from outside: states start anew and the model's copy follows (publish is the caller's).
  void restart(Stream& stream);
  /// The model's copy follows the masters.
  void copy_to_model(Stream& stream);

  /// One update of every unit, or none when `step_state` says skip. `step_state` u8 [sizeof(StepState)] on the device.
  void update(GradientStore& gradients, ConstView step_state, Stream& stream);

 private:
  struct UnitState {
    View master;
    std::vector<View> states;
    View weights;  ///< the model's 16-bit copy; absent when the master is the weight
  };

  OptimizerRange part(const UnitState& own, std::int64_t begin, std::int64_t count) const;

  const RankContext& context_;
  OptimizerOptions options_;
  std::vector<std::string_view> names_;
  std::vector<std::vector<DecayRange>> ranges_;
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
