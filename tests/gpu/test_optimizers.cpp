// The optimizers' updates, bit for bit against the CPU's.
#include <cmath>
#include <functional>

#include "tests/gpu/gpu_test.h"

namespace llama_zero::test {
namespace {

StepState state_of(int step) {
  StepState state;
  state.applied_steps = step + 1;
  state.grad_multiplier = 0.37F / static_cast<float>(step + 1);
  state.lr = 1e-3 / (1.0 + step);
  state.beta1 = 0.9 - 0.01 * step;  // a momentum cycle
  state.beta2 = 0.99;
  state.bias_correction1 = 1.0 - std::pow(state.beta1, step + 1);
  state.bias_correction2_sqrt = std::sqrt(1.0 - std::pow(state.beta2, step + 1));
  state.lr_divisor = 1.0 + 0.05 * step;
  state.skip = step == 6 ? 1 : 0;
  return state;
}

/// The tensors of one update on one side.
struct Update {
  View master;
  std::vector<View> states;
  ConstView gradient;
  View weights;
  ConstView state;
};

/// Ten steps of `op`, each from the GPU's result of the one before. `scales` of the states' first values; the second
/// state is squared. Weights in another dtype every step, and absent in the last.
void check_ten_steps(const char* name, DType gradient_dtype, std::int64_t count, std::vector<double> scales,
                     const std::function<void(const Update&, Ops&, Stream&)>& op) {
  const std::int64_t shift = count == 509 ? 1 : 0;
  Tensor master = Tensor::random(DType::kF32, count, 1, 0.02);
  std::vector<Tensor> states;
  for (std::size_t k = 0; k < scales.size(); ++k) {
    states.push_back(Tensor::random(DType::kF32, count, 2 + k, scales[k]));
    if (k == 0 && scales.size() == 2) continue;
    for (float& x : states.back().view().span<float>()) x *= x;  // sums of squares
  }
  const Tensor gradient = Tensor::random(gradient_dtype, count, 9, 3.0);
  for (int step = 0; step < 10; ++step) {
    INFO(name, " step ", step, ", ", count, " elements, ", name_of(gradient_dtype), " gradients");
    Case c(shift);
    Pair& theta = c.tensor(master);
    std::vector<Pair*> kept;
    for (const Tensor& state : states) kept.push_back(&c.tensor(state));
    Pair& g = c.tensor(gradient);
    Pair& weights = c.output(step % 3 == 0 ? DType::kBF16 : step % 3 == 1 ? DType::kF16 : DType::kF32, count);
    Pair& step_state = c.plain_data(std::vector<StepState>{state_of(step)});
    c.run([&](auto side, Ops& ops, Stream& s) {
      Update update{side(theta), {}, side(g), step == 9 ? View{} : side(weights), side(step_state)};
      for (Pair* pair : kept) update.states.push_back(side(*pair));
      op(update, ops, s);
    });
    theta.check_same_bits("master");
    weights.check_same_bits("weights");
    master = theta.gpu;
    for (std::size_t k = 0; k < kept.size(); ++k) {
      kept[k]->check_same_bits("state");
      states[k] = kept[k]->gpu;
    }
  }
}

void check_sizes(const char* name, const std::vector<double>& scales,
                 const std::function<void(const Update&, Ops&, Stream&)>& op) {
  for (const DType dtype : kStorageTypes) {
    for (const std::int64_t count : {std::int64_t{1}, std::int64_t{509}, sized(100003, 9001)}) {
      check_ten_steps(name, dtype, count, scales, op);
    }
  }
}

void adam(const Update& u, Ops& ops, Stream& s, bool decoupled) {
  ops.adamw({u.master, u.states[0], u.states[1], u.gradient, u.weights, u.state, 1e-8, 0.1, decoupled}, s);
}

GPU_TEST_CASE("adamw gives the CPU's bits over ten steps and 1e7 elements") {
  const auto op = [](const Update& u, Ops& ops, Stream& s) { adam(u, ops, s, true); };
  check_sizes("adamw", {1e-3, 1e-3}, op);
  check_ten_steps("adamw", DType::kF16, sized(10'000'000, 100'003), {1e-3, 1e-3}, op);
}

GPU_TEST_CASE("adam with decay in the gradient gives the CPU's bits over ten steps") {
  check_sizes("adam", {1e-3, 1e-3}, [](const Update& u, Ops& ops, Stream& s) { adam(u, ops, s, false); });
}

GPU_TEST_CASE("lion gives the CPU's bits over ten steps") {
  check_sizes("lion", {0.3}, [](const Update& u, Ops& ops, Stream& s) {
    ops.lion({u.master, u.states[0], u.gradient, u.weights, u.state, 0.1}, s);
  });
}

GPU_TEST_CASE("lion does not move a weight without momentum and gradient") {
  Case c;
  Pair& theta = c.random(DType::kF32, 1000);
  Pair& m = c.tensor(Tensor::of(DType::kF32, std::vector<double>(1000, 0.0)));
  Pair& g = c.tensor(Tensor::of(DType::kF16, std::vector<double>(1000, 0.0)));
  Pair& state = c.plain_data(std::vector<StepState>{state_of(0)});
  c.run([&](auto side, Ops& ops, Stream& s) { ops.lion({side(theta), side(m), side(g), {}, side(state), 0.0}, s); });
  CHECK(theta.gpu == theta.initial);
  CHECK(m.gpu == m.initial);
}

GPU_TEST_CASE("adagrad gives the CPU's bits over ten steps") {
  check_sizes("adagrad", {1.0}, [](const Update& u, Ops& ops, Stream& s) {
    ops.adagrad({u.master, u.states[0], u.gradient, u.weights, u.state, 1e-10, 0.1}, s);
  });
}

GPU_TEST_CASE(
    "sgd gives the CPU's bits over ten steps, without momentum, with it, with dampening and with Nesterov's") {
  check_sizes("sgd", {}, [](const Update& u, Ops& ops, Stream& s) {
    ops.sgd({u.master, {}, u.gradient, u.weights, u.state, 0.1}, s);
  });
  struct Kind {
    double dampening;
    bool nesterov;
  };
  for (const Kind kind : {Kind{0.0, false}, Kind{0.3, false}, Kind{0.0, true}}) {
    check_sizes("sgd with momentum", {0.1}, [kind](const Update& u, Ops& ops, Stream& s) {
      ops.sgd({u.master, u.states[0], u.gradient, u.weights, u.state, 0.1, 0.9, kind.dampening, kind.nesterov}, s);
    });
  }
}

}  // namespace
}  // namespace llama_zero::test
