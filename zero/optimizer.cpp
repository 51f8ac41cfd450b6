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
    if (unit.weights) context_.ops.cast({unit.master, unit.weights, 1.0}, stream);
  }
}

void ShardedOptimizer::update(GradientStore& gradients, ConstView step_state, Stream& stream) {
  for (int unit = 0; unit < context_.layout.unit_count(); ++unit) {
    const UnitState& own = units_[static_cast<std::size_t>(unit)];
    const ConstView gradient = gradients.reduced(unit);
    const std::int64_t count = own.master.numel();
    if (!options_.exempt_norms_and_embeddings) {
      update_range(own, gradient, 0, count, options_.weight_decay, step_state, stream);
      continue;
    }
    const bool whole = count == context_.layout[unit].padded();
    const std::int64_t first = whole ? 0 : context_.layout.own_begin(unit);
    for (const DecayRange& range : ranges_[static_cast<std::size_t>(unit)]) {
      const std::int64_t begin = std::clamp<std::int64_t>(range.begin - first, 0, count);
      const std::int64_t end = std::clamp<std::int64_t>(range.end - first, 0, count);
      if (begin == end) continue;  // padding is zero and needs no update
      update_range(own, gradient, begin, end - begin, range.decays ? options_.weight_decay : 0.0, step_state, stream);
    }
  }
}

void ShardedOptimizer::update_range(const UnitState& own, ConstView gradient, std::int64_t begin, std::int64_t count,
                                    double weight_decay, ConstView step_state, Stream& stream) {
  const auto part = [&](const View& view) { return view ? view.slice(begin, count) : View{}; };
  const auto state = [&](std::size_t index) { return index < own.states.size() ? part(own.states[index]) : View{}; };
  const View master = part(own.master);
  const View weights = part(own.weights);
  const ConstView g = gradient.slice(begin, count);
  Ops& ops = context_.ops;
  switch (options_.kind) {
    case OptimizerKind::kAdamW:
    case OptimizerKind::kAdam: {
      const bool decoupled = options_.kind == OptimizerKind::kAdamW;
      return ops.adamw({master, state(0), state(1), g, weights, step_state, options_.eps, weight_decay, decoupled},
                       stream);
    }
    case OptimizerKind::kLion:
      return ops.lion({master, state(0), g, weights, step_state, weight_decay}, stream);
    case OptimizerKind::kAdagrad:
      return ops.adagrad({master, state(0), g, weights, step_state, options_.eps, weight_decay}, stream);
    case OptimizerKind::kSgd:
      return ops.sgd({master, state(0), g, weights, step_state, weight_decay, options_.momentum, options_.dampening,
                      options_.nesterov},
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
