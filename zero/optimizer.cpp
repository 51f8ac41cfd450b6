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
                                   const OptimizerOptions& options, std::vector<std::vector<DecayRange>> ranges,
                                   const OffloadPlan& offload)
    : context_(context),
      options_(options),
      names_(state_names(options)),
      ranges_(std::move(ranges)),
      params_(params),
      tile_(offload.tile) {
  const int units = context.layout.unit_count();
  require(!options.exempt_norms_and_embeddings || static_cast<int>(ranges_.size()) == units,
          "optimizer: {} units have decay ranges, not {}", ranges_.size(), units);
  for (int unit = 0; unit < units; ++unit) units_.push_back(make_state(unit, weight_dtype, offload));
  if (!offload.any()) return;
  host_ = std::make_unique<HostOptimizer>(options, offload.threads, context.host.counts_only());
  host_step_state_ = std::make_unique<HostBuffer>(context.device, sizeof(StepState));
  std::int64_t largest = 0;
  for (const UnitState& unit : units_) {
    if (needs_buffer(unit)) largest = std::max(largest, unit.master.numel());
  }
  transfer_ = std::make_unique<WeightTransfer>(context, weight_dtype, std::min(largest, tile_), offload.memory);
}

ShardedOptimizer::UnitState ShardedOptimizer::make_state(int unit, DType weight_dtype, const OffloadPlan& offload) {
  const View own = params_.own(unit);
  UnitState state;
  state.on_host = offload.any() && offload.on_host[static_cast<std::size_t>(unit)];
  state.weights_on_host = params_.on_host(unit);
  if (weight_dtype == DType::kF32 && state.on_host == state.weights_on_host) {
    state.master = own;
  } else {
    state.master = allocate(state.on_host, own.numel(), offload);
    state.weights = own;
  }
  for (std::size_t i = 0; i < names_.size(); ++i) {
    state.states.push_back(allocate(state.on_host, own.numel(), offload));
  }
  return state;
}

View ShardedOptimizer::allocate(bool on_host, std::int64_t numel, const OffloadPlan& offload) {
  if (!on_host) return allocate_zeros(context_, "optimizer", DType::kF32, numel);
  return context_.host.allocate("host optimizer", DType::kF32, numel, offload.memory,
                                touch_by_tiles(offload, DType::kF32));
}

/// Whether new weights go up from a buffer: not from the master itself, which is what the model has in fp32.
bool ShardedOptimizer::needs_buffer(const UnitState& own) const {
  return own.on_host && own.weights && !own.weights_on_host && own.weights.dtype() != DType::kF32;
}

void ShardedOptimizer::restart(Stream& stream) {
  for (UnitState& unit : units_) {
    for (const View& state : unit.states) {
      if (unit.on_host) {
        host_->fill(state, options_.initial_accumulator_value);
      } else {
        context_.ops.fill({state, options_.initial_accumulator_value}, stream);
      }
    }
  }
  copy_to_model(stream);
}

void ShardedOptimizer::copy_to_model(Stream& stream) {
  if (transfer_) transfer_->begin(stream);
  for (int unit = 0; unit < context_.layout.unit_count(); ++unit) {
    const UnitState& own = units_[static_cast<std::size_t>(unit)];
    if (!own.weights) continue;
    if (own.on_host) {
      copy_from_host(own);
      continue;
    }
    context_.ops.cast({own.master, params_.begin_update(unit, stream), 1.0}, stream);
    params_.end_update(unit, stream);
  }
  if (transfer_) transfer_->finish(stream);
}

void ShardedOptimizer::copy_from_host(const UnitState& own) {
  if (own.weights_on_host) {
    host_->cast(own.master, own.weights);
    return;
  }
  for (std::int64_t begin = 0; begin < own.master.numel(); begin += tile_) {
    const std::int64_t count = std::min(tile_, own.master.numel() - begin);
    View weights = own.master.slice(begin, count);
    if (needs_buffer(own)) {
      weights = transfer_->buffer(count);
      host_->cast(own.master.slice(begin, count), weights);
    }
    transfer_->send_up(weights, own.weights.slice(begin, count));
  }
}

OptimizerRange ShardedOptimizer::range(const UnitState& own, std::int64_t begin, std::int64_t count) const {
  OptimizerRange result;
  result.master = own.master.slice(begin, count);
  for (const View& state : own.states) result.states.push_back(state.slice(begin, count));
  return result;
}

std::vector<ShardedOptimizer::Part> ShardedOptimizer::parts(int unit) const {
  const std::int64_t count = units_[static_cast<std::size_t>(unit)].master.numel();
  if (!options_.exempt_norms_and_embeddings) return {{0, count, options_.weight_decay}};
  const bool whole = count == context_.layout[unit].padded();
  const std::int64_t first = whole ? 0 : context_.layout.own_begin(unit);
  std::vector<Part> parts;
  // Padding, which no range has, is zero and stays so.
  for (const DecayRange& decay : ranges_[static_cast<std::size_t>(unit)]) {
    const Part part{std::clamp<std::int64_t>(decay.begin - first, 0, count),
                    std::clamp<std::int64_t>(decay.end - first, 0, count), decay.decays ? options_.weight_decay : 0.0};
    if (part.begin < part.end) parts.push_back(part);
  }
  return parts;
}

void ShardedOptimizer::update(GradientStore& gradients, ConstView step_state, Stream& stream) {
  const View host_state = host_ ? View(host_step_state_->data(), step_state.numel(), DType::kU8) : View{};
  if (host_) {
    context_.device.copy(step_state, host_state, stream);
    transfer_->begin(stream);
  }
  for (int unit = 0; unit < context_.layout.unit_count(); ++unit) {
    if (!on_host(unit)) update_on_device(unit, gradients, step_state, stream);
  }
  if (!host_) return;
  transfer_->wait_for_begin();
  if (reinterpret_cast<const StepState*>(host_state.raw())->skip == 0) {
    for (int unit = 0; unit < context_.layout.unit_count(); ++unit) {
      if (on_host(unit)) update_on_host(unit, gradients, host_state);
    }
  }
  transfer_->finish(stream);
}

void ShardedOptimizer::update_on_device(int unit, GradientStore& gradients, ConstView step_state, Stream& stream) {
  const UnitState& own = units_[static_cast<std::size_t>(unit)];
  const View weights = own.weights ? params_.begin_update(unit, stream) : View{};
  const bool rounds = weights && weights.dtype() != DType::kF32;
  for (const Part& part : parts(unit)) {
    const std::int64_t count = part.end - part.begin;
    OptimizerRange own_range = range(own, part.begin, count);
    own_range.gradient = gradients.reduced(unit).slice(part.begin, count);
    own_range.step_state = step_state;
    if (rounds && !own.weights_on_host) own_range.weights = weights.slice(part.begin, count);
    update_range(context_.ops, options_, part.weight_decay, own_range, stream);
  }
  if (!own.weights) return;
  // A skipped step writes no weights, but what goes down must be all of them.
  if (own.weights_on_host || !rounds) context_.ops.cast({own.master, weights, 1.0}, stream);
  params_.end_update(unit, stream);
}

void ShardedOptimizer::update_on_host(int unit, GradientStore& gradients, ConstView step_state) {
  const UnitState& own = units_[static_cast<std::size_t>(unit)];
  const View gradient = gradients.reduced(unit);
  for (const Part& part : parts(unit)) {
    for (std::int64_t begin = part.begin; begin < part.end;) {
      const std::int64_t end = std::min(part.end, (begin / tile_ + 1) * tile_);
      OptimizerRange tile = range(own, begin, end - begin);
      tile.step_state = step_state;
      update_tile(own, gradient.slice(begin, end - begin), begin, tile, part.weight_decay);
      begin = end;
    }
  }
}

void ShardedOptimizer::update_tile(const UnitState& own, View gradient, std::int64_t begin, const OptimizerRange& tile,
                                   double weight_decay) {
  const std::int64_t count = gradient.numel();
  OptimizerRange host_tile = tile;
  host_tile.gradient = gradient;
  if (needs_buffer(own)) {
    const bool over_gradient = host_->writes_over_gradient() && gradient.dtype() == own.weights.dtype();
    host_tile.weights = over_gradient ? gradient : transfer_->buffer(count);
  } else if (own.weights_on_host && own.weights) {
    host_tile.weights = own.weights.slice(begin, count);
  }
  host_->update(host_tile, weight_decay);
  if (!own.weights || own.weights_on_host) return;
  transfer_->send_up(host_tile.weights ? host_tile.weights : host_tile.master, own.weights.slice(begin, count));
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
  take_squares(gradients, stream);
  context_.communicator.all_gather(own_squares_, all_squares_, stream);
  context_.ops.advance_step({context_.ranks(), all_squares_, state_, schedule_, scaler_, clip_}, stream);
}

void StepBoundary::take_squares(GradientStore& gradients, Stream& stream) {
  ShardSquares* squares = gradients.squares();
  for (int unit = 0; unit < context_.layout.unit_count(); ++unit) {
    if (squares == nullptr) {
      context_.ops.sum_of_squares({gradients.own_shard(unit), own_squares_, unit > 0}, stream);
    } else if (!gradients.on_host(unit)) {
      squares->take(unit, gradients.own_shard(unit), stream);
    }
  }
  if (squares != nullptr) squares->add_up(own_squares_, stream);
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
