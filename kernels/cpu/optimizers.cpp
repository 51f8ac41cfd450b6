// The optimizers' updates over a flat range, block by block.
#include <array>
#include <cstring>
#include <utility>

#include "kernels/adagrad_update.h"
#include "kernels/adam_update.h"
#include "kernels/cpu/convert.h"
#include "kernels/cpu/kernels.h"
#include "kernels/lion_update.h"
#include "kernels/sgd_update.h"

namespace llama_zero::cpu {

namespace {

/// What all optimizers have in common: K states beside the master.
template <int K>
struct Range {
  View master;
  std::array<View, K> states;
  ConstView gradient;
  View weights;
};

template <typename C, typename Update, int K, std::size_t... I>
void update_block(const Range<K>& range, const Update& update, C multiplier, std::int64_t offset, std::int64_t count,
                  std::index_sequence<I...>) {
  C buffer[kBlock];
  const C* gradient = read(range.gradient, offset, count, buffer);
  C* theta = range.master.template as<C>() + offset;
  [&](auto*... state) {
#pragma omp simd
    for (std::int64_t i = 0; i < count; ++i) update(gradient[i] * multiplier, state[i]..., theta[i]);
  }((range.states[I].template as<C>() + offset)...);
  if (range.weights) store(range.weights, offset, count, theta);
}

template <typename Rule>
void run_rule(const Rule& rule, const Range<Rule::kStates>& range, const ConstView& step_state,
              const Context& context) {
  StepState state;
  std::memcpy(&state, step_state.raw(), sizeof(state));
  if (state.skip != 0) return;
  with_compute_type(range.master.dtype(), [&]<typename C>(C) {
    const auto update = rule.template at<C>(state);
    const C multiplier = static_cast<C>(state.grad_multiplier);
    parallel_blocks(context, range.master.numel(), [&](std::int64_t offset, std::int64_t count) {
      update_block(range, update, multiplier, offset, count, std::make_index_sequence<Rule::kStates>());
    });
  });
}

}  // namespace

void run(const AdamW& args, const Context& context) {
  const Range<2> range{args.master, {args.exp_avg, args.exp_avg_sq}, args.gradient, args.weights};
  if (args.decoupled_decay) return run_rule(AdamRule<true>{args.eps, args.weight_decay}, range, args.state, context);
  run_rule(AdamRule<false>{args.eps, args.weight_decay}, range, args.state, context);
}

void run(const Lion& args, const Context& context) {
  const Range<1> range{args.master, {args.exp_avg}, args.gradient, args.weights};
  run_rule(LionRule{args.weight_decay}, range, args.state, context);
}

void run(const Adagrad& args, const Context& context) {
  const Range<1> range{args.master, {args.sum}, args.gradient, args.weights};
  run_rule(AdagradRule{args.eps, args.weight_decay}, range, args.state, context);
}

void run(const Sgd& args, const Context& context) {
  if (!args.momentum_buffer) {
    return run_rule(SgdRule{args.weight_decay}, {args.master, {}, args.gradient, args.weights}, args.state, context);
  }
  const Range<1> range{args.master, {args.momentum_buffer}, args.gradient, args.weights};
  const double decay = args.weight_decay;
  if (args.nesterov) {
    return run_rule(MomentumRule<true>{decay, args.momentum, args.dampening}, range, args.state, context);
  }
  run_rule(MomentumRule<false>{decay, args.momentum, args.dampening}, range, args.state, context);
}

}  // namespace llama_zero::cpu
