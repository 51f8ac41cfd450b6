#include "kernels/bench/optimizer_cases.h"

#include <array>
#include <deque>

#include "kernels/adagrad_update.h"
#include "kernels/adam_update.h"
#include "kernels/bench/expected.h"
#include "kernels/bench/host_tensor.h"
#include "kernels/lion_update.h"
#include "kernels/sgd_update.h"

namespace llama_zero::bench {

namespace {

/// An update in the middle of a run, so that no constant is one by chance.
StepState step_state() {
  StepState state;
  state.applied_steps = 7;
  state.grad_multiplier = 0.75F;
  state.lr = 1e-3;
  state.bias_correction1 = 0.5;
  state.bias_correction2_sqrt = 0.25;
  state.lr_divisor = 1.25;
  return state;
}

/// What every update has: the tensors that it changes, master first and then K states, what it reads, and the model's
/// copy.
template <int K>
struct Tensors {
  std::array<View, K + 1> changed;
  ConstView gradient;
  View weights;
};

/// `update` is the element function in double; it takes the gradient, the states and the master.
template <int K, typename Update>
Expectation expect(Backend& backend, const Tensors<K>& tensors, const Update& update) {
  std::deque<HostTensor> old;
  for (const View& view : tensors.changed) old.emplace_back(backend, view);
  const HostTensor gradient(backend, tensors.gradient);
  const double multiplier = static_cast<double>(step_state().grad_multiplier);
  Expectation all(K + 2);
  for (const std::int64_t i : places(gradient.numel(), kSamples)) {
    std::array<double, K + 1> now;
    for (std::size_t k = 0; k <= K; ++k) now[k] = old[k].at(i);
    if constexpr (K == 0) update(gradient.at(i) * multiplier, now[0]);
    if constexpr (K == 1) update(gradient.at(i) * multiplier, now[1], now[0]);
    if constexpr (K == 2) update(gradient.at(i) * multiplier, now[1], now[2], now[0]);
    for (std::size_t k = 0; k <= K; ++k) all[k].add(i, now[k]);
    all[K + 1].add(i, now[0]);
  }
  return all;
}

template <int K>
double bytes_moved(const Tensors<K>& tensors) {
  double bytes = bytes_of({tensors.gradient, tensors.weights});
  for (const View& view : tensors.changed) bytes += 2.0 * bytes_of({view});
  return bytes;
}

template <int K, typename Run, typename Update>
Case make(Backend& backend, const Tensors<K>& tensors, const Run& run, const Update& update) {
  std::vector<View> results(tensors.changed.begin(), tensors.changed.end());
  results.push_back(tensors.weights);
  return {run,     bytes_moved(tensors),
          0.0,     1,
          results, [&backend, tensors, update] { return expect<K>(backend, tensors, update); }};
}

View device_state(CaseBuilder& b) {
  const StepState state = step_state();
  return b.bytes(&state, sizeof(state));
}

template <int K, typename Args>
Tensors<K> tensors_of(const Args& args, const std::array<View, K>& states) {
  Tensors<K> tensors{{args.master}, args.gradient, args.weights};
  for (std::size_t k = 0; k < K; ++k) tensors.changed[k + 1] = states[k];
  return tensors;
}

Sgd sgd_args(CaseBuilder& b, const Shape& s, bool momentum) {
  Sgd args;
  args.master = b.random_as(b.wide(), s.elements);
  if (momentum) args.momentum_buffer = b.random_as(b.wide(), s.elements);
  args.gradient = b.random(s.elements);
  args.weights = b.empty(b.storage(), s.elements);
  args.state = device_state(b);
  args.weight_decay = 0.01;
  if (momentum) args.momentum = 0.9;
  args.nesterov = momentum;
  return args;
}

}  // namespace

Case adamw_case(CaseBuilder& b, const Shape& s) {
  AdamW args;
  args.master = b.random_as(b.wide(), s.elements);
  args.exp_avg = b.random_as(b.wide(), s.elements);
  args.exp_avg_sq = b.positive_as(b.wide(), s.elements);
  args.gradient = b.random(s.elements);
  args.weights = b.empty(b.storage(), s.elements);
  args.state = device_state(b);
  args.weight_decay = 0.01;
  const auto update = AdamRule<true>{args.eps, args.weight_decay}.at<double>(step_state());
  return make(
      b.backend(), tensors_of<2>(args, {args.exp_avg, args.exp_avg_sq}),
      [&b, args] { b.backend().ops->adamw(args, *b.backend().stream); }, update);
}

Case lion_case(CaseBuilder& b, const Shape& s) {
  Lion args;
  args.master = b.random_as(b.wide(), s.elements);
  args.exp_avg = b.random_as(b.wide(), s.elements);
  args.gradient = b.random(s.elements);
  args.weights = b.empty(b.storage(), s.elements);
  args.state = device_state(b);
  args.weight_decay = 0.01;
  const auto update = LionRule{args.weight_decay}.at<double>(step_state());
  return make(
      b.backend(), tensors_of<1>(args, {args.exp_avg}),
      [&b, args] { b.backend().ops->lion(args, *b.backend().stream); }, update);
}

Case adagrad_case(CaseBuilder& b, const Shape& s) {
  Adagrad args;
  args.master = b.random_as(b.wide(), s.elements);
  args.sum = b.positive_as(b.wide(), s.elements);
  args.gradient = b.random(s.elements);
  args.weights = b.empty(b.storage(), s.elements);
  args.state = device_state(b);
  args.weight_decay = 0.01;
  const auto update = AdagradRule{args.eps, args.weight_decay}.at<double>(step_state());
  return make(
      b.backend(), tensors_of<1>(args, {args.sum}), [&b, args] { b.backend().ops->adagrad(args, *b.backend().stream); },
      update);
}

Case sgd_case(CaseBuilder& b, const Shape& s) {
  const Sgd args = sgd_args(b, s, false);
  const auto update = SgdRule{args.weight_decay}.at<double>(step_state());
  return make(
      b.backend(), tensors_of<0>(args, {}), [&b, args] { b.backend().ops->sgd(args, *b.backend().stream); }, update);
}

Case sgd_momentum_case(CaseBuilder& b, const Shape& s) {
  const Sgd args = sgd_args(b, s, true);
  const auto update = MomentumRule<true>{args.weight_decay, args.momentum, args.dampening}.at<double>(step_state());
  return make(
      b.backend(), tensors_of<1>(args, {args.momentum_buffer}),
      [&b, args] { b.backend().ops->sgd(args, *b.backend().stream); }, update);
}

}  // namespace llama_zero::bench
