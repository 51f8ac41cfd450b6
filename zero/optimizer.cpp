#include "zero/optimizer.h"

#include <algorithm>
#include <cstddef>
#include <span>
#include <utility>

namespace llama_zero {

std::vector<std::vector<DecayRange>> decay_ranges(const ParamTable& table) {
  std::vector<std::vector<DecayRange>> ranges;
  for (const Unit& unit : table.units()) {
    std::vector<DecayRange>& of_unit = ranges.emplace_back();
    for (const int index : unit.params) {
      const Param& param = table.params()[static_cast<std::size_t>(index)];
      const std::int64_t end = param.offset + param.numel();
      if (!of_unit.empty() && of_unit.back().decays == param.weight_decay) {
        of_unit.back().end = end;
      } else {
        of_unit.push_back({param.offset, end, param.weight_decay});
      }
    }
  }
  return ranges;
}

ShardedOptimizer::ShardedOptimizer(const RankContext& context, DType weight_dtype, ParamStore& params,
                                   const OptimizerOptions& options, std::vector<std::vector<DecayRange>> ranges)
    : context_(context), options_(options), names_(state_names(options)), ranges_(std::move(ranges)) {
  const int units = context.layout.unit_count();
  require(!options.exempt_norms_and_embeddings || static_cast<int>(ranges_.size()) == units,
          "optimizer: {} units have decay ranges, not {}", ranges_.size(), units);
  for (int unit = 0; unit < units; ++unit) {
    const View own = params.own(unit);
    UnitState state;
    if (weight_dtype == DType::kF32) {
      state.master = own;
    } else {
      state.master = allocate_zeros(context, "optimizer", DType::kF32, own.numel());
      state.weights = own;
    }
    for (std::size_t i = 0; i < names_.size(); ++i) {
      state.states.push_back(allocate_zeros(context, "optimizer", DType::kF32, own.numel()));
    }
    units_.push_back(std::move(state));
  }
}

void ShardedOptimizer::restart(Stream& stream) {
  for (UnitState& unit : units_) {
    for (const View& state : unit.states) context_.ops.fill({state, options_.initial_accumulator_value}, stream);
  }
  copy_to_model(stream);
}

void ShardedOptimizer::copy_to_model(Stream& stream) {
  for (UnitState& unit : units_) {
    if (unit.weights) context_.ops.cast({unit.master, unit.weights, 1.0}, stream);
  }
}

OptimizerRange ShardedOptimizer::part(const UnitState& own, std::int64_t begin, std::int64_t count) const {
  OptimizerRange range;
  range.master = own.master.slice(begin, count);
  for (const View& state : own.states) range.states.push_back(state.slice(begin, count));
  if (own.weights) range.weights = own.weights.slice(begin, count);
  return range;
}

void ShardedOptimizer::update(GradientStore& gradients, ConstView step_state, Stream& stream) {
  const auto update_part = [&](int unit, std::int64_t begin, std::int64_t end, bool decays) {
    if (begin == end) return;
    OptimizerRange range = part(units_[static_cast<std::size_t>(unit)], begin, end - begin);
    range.gradient = gradients.reduced(unit).slice(begin, end - begin);
    range.step_state = step_state;
    update_range(context_.ops, options_, decays ? options_.weight_decay : 0.0, range, stream);
  };
  for (int unit = 0; unit < context_.layout.unit_count(); ++unit) {
    const std::int64_t count = master(unit).numel();
    if (!options_.exempt_norms_and_embeddings) {
      update_part(unit, 0, count, true);
      continue;
    }
    const bool whole = count == context_.layout[unit].padded();
    const std::int64_t first = whole ? 0 : context_.layout.own_begin(unit);
    // Padding, which no range has, is zero and stays so.
    for (const DecayRange& range : ranges_[static_cast<std::size_t>(unit)]) {
      update_part(unit, std::clamp<std::int64_t>(range.begin - first, 0, count),
                  std::clamp<std::int64_t>(range.end - first, 0, count), range.decays);
    }
  }
}

void update_range(Ops& ops, const OptimizerOptions& options, double weight_decay, const OptimizerRange& range,
                  Stream& stream) {
  const View first = range.states.empty() ? View{} : range.states.front();
  switch (options.kind) {
    case OptimizerKind::kAdamW:
    case OptimizerKind::kAdam:
      return ops.adamw({range.master, first, range.states[1], range.gradient, range.weights, range.step_state,
                        options.eps, weight_decay, options.kind == OptimizerKind::kAdamW},
                       stream);
    case OptimizerKind::kLion:
      return ops.lion({range.master, first, range.gradient, range.weights, range.step_state, weight_decay}, stream);
    case OptimizerKind::kAdagrad:
      return ops.adagrad(
          {range.master, first, range.gradient, range.weights, range.step_state, options.eps, weight_decay}, stream);
    case OptimizerKind::kSgd:
      return ops.sgd({range.master, first, range.gradient, range.weights, range.step_state, weight_decay,
                      options.momentum, options.dampening, options.nesterov},
                     stream);
  }
}

namespace {

constexpr std::string_view kLabel = "step state";

ConstView bytes_of(const StepState& state) {
  return {reinterpret_cast<const std::byte*>(&state), static_cast<std::int64_t>(sizeof(StepState)), DType::kU8};
}

}  // namespace

StepBoundary::StepBoundary(const RankContext& context, const std::vector<ScheduleRow>& schedule,
                           const LossScalerConfig& scaler, double clip, Stream& stream)
    : context_(context), scaler_(scaler), clip_(clip), host_state_(initial_step_state(scaler)) {
  require(!schedule.empty(), "engine: the learning-rate schedule has no row");
  const auto rows = std::as_bytes(std::span(schedule));
  state_ = context.arena.allocate(kLabel, DType::kU8, static_cast<std::int64_t>(sizeof(StepState)));
  schedule_ = context.arena.allocate(kLabel, DType::kU8, static_cast<std::int64_t>(rows.size()));
  own_squares_ = context.arena.allocate(kLabel, DType::kF64, 2);
  all_squares_ = context.arena.allocate(kLabel, DType::kF64, 2 * context.ranks());
  context.device.copy({rows.data(), static_cast<std::int64_t>(rows.size()), DType::kU8}, schedule_, stream);
  write(host_state_, stream);
}

ConstView StepBoundary::loss_scale() const { return {state_.raw() + offsetof(StepState, loss_scale), 1, DType::kF32}; }

void StepBoundary::advance(GradientStore& gradients, Stream& stream) {
  for (int unit = 0; unit < context_.layout.unit_count(); ++unit) {
    context_.ops.sum_of_squares({gradients.own_shard(unit), own_squares_, unit > 0}, stream);
  }
  context_.communicator.all_gather(own_squares_, all_squares_, stream);
  context_.ops.advance_step({context_.ranks(), all_squares_, state_, schedule_, scaler_, clip_}, stream);
}

StepState StepBoundary::read(Stream& stream) {
  const View host(reinterpret_cast<std::byte*>(&host_state_), static_cast<std::int64_t>(sizeof(StepState)), DType::kU8);
  context_.device.copy(state_, host, stream);
  stream.synchronize();
  return host_state_;
}

void StepBoundary::write(const StepState& state, Stream& stream) {
  host_state_ = state;
  context_.device.copy(bytes_of(host_state_), state_, stream);
  stream.synchronize();
}

}  // namespace llama_zero
