// The optimizer over what this rank updates: the whole units at stage 0, its shards at stages 1 to 3. Units that are
// offloaded have their master and states in host memory, where the host updates them.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "model/param_table.h"
#include "zero/gradient_store.h"
#include "zero/host_optimizer.h"
#include "zero/lr_schedule.h"
#include "zero/optimizer_range.h"
#include "zero/param_store.h"
#include "zero/rank_context.h"
#include "zero/weight_transfer.h"

namespace llama_zero {

/// The ranges of every unit whose elements decay, and those that norms and embeddings exempt, in order and without
/// gaps; neighbours that decay alike are one range.
std::vector<std::vector<DecayRange>> decay_ranges(const ParamTable& table);

/// fp32 master and the states that the optimizer's kind has (zero/optimizer_options.h), label "optimizer", of offloaded
/// units "host optimizer". In fp32 training the weights are the master where both lie on one side: the optimizer
/// updates them in place and has no copy of them.
class ShardedOptimizer {
 public:
  /// `ranges` as decay_ranges() gives them, for options.exempt_norms_and_embeddings; else not used.
  ShardedOptimizer(const RankContext& context, DType weight_dtype, ParamStore& params, const OptimizerOptions& options,
                   std::vector<std::vector<DecayRange>> ranges = {}, const OffloadPlan& offload = {});

  const OptimizerOptions& options() const { return options_; }
  /// Names of the states of every unit, in the order of `state`.
  const std::vector<std::string_view>& names() const { return names_; }

  /// Whether master and states of the unit lie in host memory.
  bool on_host(int unit) const { return units_[static_cast<std::size_t>(unit)].on_host; }
  /// fp32 master values of what this rank updates, padding included (zero).
  View master(int unit) { return units_[static_cast<std::size_t>(unit)].master; }
  /// fp32, the same elements: state `index` of names().
  View state(int unit, std::size_t index) { return units_[static_cast<std::size_t>(unit)].states[index]; }

  /// After the masters were set from outside: states start anew and the model's copy follows (publish is the caller's).
  void restart(Stream& stream);
  /// The model's copy follows the masters.
  void copy_to_model(Stream& stream);

  /// One update of every unit, or none when `step_state` says skip. `step_state` u8 [sizeof(StepState)] on the device.
  /// Nothing waits unless a unit is offloaded: then the host waits for `step_state`, updates tile by tile, and gives
  /// each tile's weights to the upload stream, which later work of `stream` follows. Gradients of offloaded units are
  /// gone.
  void update(GradientStore& gradients, ConstView step_state, Stream& stream);

 private:
  struct UnitState {
    bool on_host = false;
    bool weights_on_host = false;
    View master;
    std::vector<View> states;
    View weights;  ///< the model's copy; absent when the master is the weight
  };
  /// Elements [begin, end) of what this rank updates of a unit, which decay alike.
  struct Part {
    std::int64_t begin, end;
    double weight_decay;
  };

  UnitState make_state(int unit, DType weight_dtype, const OffloadPlan& offload);
  View allocate(bool on_host, std::int64_t numel, const OffloadPlan& offload);
  std::vector<Part> parts(int unit) const;
  OptimizerRange range(const UnitState& own, std::int64_t begin, std::int64_t count) const;
  bool needs_buffer(const UnitState& own) const;
  void update_on_device(int unit, GradientStore& gradients, ConstView step_state, Stream& stream);
  void update_on_host(int unit, GradientStore& gradients, ConstView step_state);
  void update_tile(const UnitState& own, View gradient, std::int64_t begin, const OptimizerRange& tile,
                   double weight_decay);
  void copy_from_host(const UnitState& own);

  const RankContext& context_;
  OptimizerOptions options_;
  std::vector<std::string_view> names_;
  std::vector<std::vector<DecayRange>> ranges_;
  ParamStore& params_;
  std::vector<UnitState> units_;
  // Where units are offloaded, else null.
  std::int64_t tile_ = 0;
  std::unique_ptr<HostOptimizer> host_;
  std::unique_ptr<WeightTransfer> transfer_;
  std::unique_ptr<HostBuffer> host_step_state_;
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
  void take_squares(GradientStore& gradients, Stream& stream);

  const RankContext& context_;
  LossScalerConfig scaler_;
  double clip_;
  StepState host_state_;
  View state_, schedule_, own_squares_, all_squares_;
};

}  // namespace llama_zero
