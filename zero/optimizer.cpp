#include "zero/optimizer.h"

#include <cstddef>
#include <span>

namespace llama_zero {

ShardedAdamW::ShardedAdamW(const RankContext& context, DType weight_dtype, ParamStore& params) : context_(context) {
  for (int unit = 0; unit < context.layout.unit_count(); ++unit) {
    const View own = params.own(unit);
    UnitState state;
    if (weight_dtype == DType::kF32) {
      state.master = own;
    } else {
      state.master = allocate_zeros(context, "optimizer", DType::kF32, own.numel());
      state.weights = own;
    }
    state.exp_avg = allocate_zeros(context, "optimizer", DType::kF32, own.numel());
    state.exp_avg_sq = allocate_zeros(context, "optimizer", DType::kF32, own.numel());
    units_.push_back(state);
  }
}

void ShardedAdamW::restart(Stream& stream) {
  for (UnitState& unit : units_) {
    context_.device.fill_bytes(unit.exp_avg, 0, stream);
    context_.device.fill_bytes(unit.exp_avg_sq, 0, stream);
    if (unit.weights) context_.ops.cast({unit.master, unit.weights, 1.0}, stream);
  }
}

void ShardedAdamW::update(GradientStore& gradients, ConstView state, const AdamWOptions& options, Stream& stream) {
  for (int unit = 0; unit < context_.layout.unit_count(); ++unit) {
    const UnitState& own = units_[static_cast<std::size_t>(unit)];
    AdamW args;
    args.master = own.master;
    args.exp_avg = own.exp_avg;
    args.exp_avg_sq = own.exp_avg_sq;
    args.gradient = gradients.reduced(unit);
    args.weights = own.weights;
    args.state = state;
    args.beta1 = options.beta1;
    args.beta2 = options.beta2;
    args.eps = options.eps;
    args.weight_decay = options.weight_decay;
    context_.ops.adamw(args, stream);
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
