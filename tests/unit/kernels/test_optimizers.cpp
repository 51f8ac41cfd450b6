#include "kernels/adagrad_update.h"
#include "kernels/adam_update.h"
#include "kernels/lion_update.h"
#include "kernels/sgd_update.h"
#include "tests/unit/kernels/support.h"

namespace llama_zero {
namespace {

using test::Cpu;
using test::Tensor;

Tensor state_tensor(const StepState& state) {
  Tensor t(DType::kU8, sizeof(StepState));
  std::memcpy(t.view().raw(), &state, sizeof(state));
  return t;
}

StepState state_of(double lr, double beta1, double beta2, int step, float multiplier = 1.0F) {
  StepState state;
  state.applied_steps = step;
  state.lr = lr;
  state.beta1 = beta1;
  state.beta2 = beta2;
  state.bias_correction1 = 1.0 - std::pow(beta1, step);
  state.bias_correction2_sqrt = std::sqrt(1.0 - std::pow(beta2, step));
  state.grad_multiplier = multiplier;
  return state;
}

struct Optimizer {
  Tensor master, exp_avg, exp_avg_sq;
};

TEST_CASE("the first AdamW step moves a weight by lr against the gradient's sign, plus decay: worked by hand") {
  // theta = 1, g = 0.5, lr = 0.1, decay 0.01: m / c1 = 0.5, sqrt(v / c2) = 0.5, so theta - 0.1 * (1 + 0.01) = 0.899.
  Cpu cpu;
  Optimizer o{Tensor::of(DType::kF64, {1.0}), Tensor::of(DType::kF64, {0.0}), Tensor::of(DType::kF64, {0.0})};
  const Tensor gradient = Tensor::of(DType::kF64, {0.5});
  const Tensor state = state_tensor(state_of(0.1, 0.9, 0.999, 1));
  cpu.run(AdamW{o.master, o.exp_avg, o.exp_avg_sq, gradient, {}, state, 1e-8, 0.01});
  CHECK(o.exp_avg[0] == doctest::Approx(0.05).epsilon(1e-15));
  CHECK(o.exp_avg_sq[0] == doctest::Approx(0.00025).epsilon(1e-13));
  CHECK(o.master[0] == doctest::Approx(0.899).epsilon(5e-9));  // eps takes 2e-9
}

TEST_CASE("eps is added after the bias correction of the root, as PyTorch does: worked by hand") {
  // g = 1, eps = 1: sqrt(v) / sqrt(c2) = 1, so the step is 1 / (1 + 1) = 0.5; eps inside the root would give 0.707.
  Cpu cpu;
  Optimizer o{Tensor::of(DType::kF32, {0.0}), Tensor::of(DType::kF32, {0.0}), Tensor::of(DType::kF32, {0.0})};
  const Tensor gradient = Tensor::of(DType::kF32, {1.0});
  const Tensor state = state_tensor(state_of(1.0, 0.9, 0.99, 1));
  cpu.run(AdamW{o.master, o.exp_avg, o.exp_avg_sq, gradient, {}, state, 1.0, 0.0});
  CHECK(o.master[0] == doctest::Approx(-0.5).epsilon(1e-6));
}

/// PyTorch's documented order in double: decay multiplies the weight first, then the Adam step is taken from it.
void pytorch_step(double& theta, double& m, double& v, double g, int step) {
  const double lr = 1e-2, beta1 = 0.9, beta2 = 0.95, eps = 1e-8, decay = 0.1;
  m = beta1 * m + (1.0 - beta1) * g;
  v = beta2 * v + (1.0 - beta2) * g * g;
  const double denominator = std::sqrt(v) / std::sqrt(1.0 - std::pow(beta2, step)) + eps;
  theta = theta * (1.0 - lr * decay) - lr / (1.0 - std::pow(beta1, step)) * m / denominator;
}

TEST_CASE("twenty AdamW steps agree with PyTorch's formula in double") {
  Cpu cpu(2);
  constexpr std::int64_t kCount = 3001;
  for (const DType gradient_dtype : test::kStorageTypes) {
    Optimizer o{Tensor::random(DType::kF32, kCount, 1), Tensor::of(DType::kF32, std::vector<double>(kCount, 0.0)),
                Tensor::of(DType::kF32, std::vector<double>(kCount, 0.0))};
    std::vector<double> theta = o.master.values();
    std::vector<double> m(kCount, 0.0);
    std::vector<double> v(kCount, 0.0);
    Tensor weights(gradient_dtype, kCount);
    for (int step = 1; step <= 20; ++step) {
      const Tensor gradient = Tensor::random(gradient_dtype, kCount, 100 + static_cast<std::uint64_t>(step));
      const Tensor state = state_tensor(state_of(1e-2, 0.9, 0.95, step, 0.25F));
      cpu.run(AdamW{o.master, o.exp_avg, o.exp_avg_sq, gradient, weights, state, 1e-8, 0.1});
      for (std::size_t i = 0; i < theta.size(); ++i) {
        pytorch_step(theta[i], m[i], v[i], 0.25 * gradient[static_cast<std::int64_t>(i)], step);
      }
    }
    // A step rounds theta once (u |theta|, |theta| < 8) and the direction, |d| < 5, to about 16 u; m may cancel, but
    // its absolute error stays within u of the largest gradient a step.
    const double bound = 20.0 * (test::kU32 * 8.0 + 1e-2 * 64.0 * test::kU32 * 5.0);
    double worst = 0.0;
    int rounded_wrong = 0;
    for (std::size_t i = 0; i < theta.size(); ++i) {
      const auto at = static_cast<std::int64_t>(i);
      worst = std::max(worst, std::fabs(o.master[at] - theta[i]));
      Tensor rounded(gradient_dtype, 1);
      rounded.set(0, o.master[at]);
      rounded_wrong += weights[at] == rounded[0] ? 0 : 1;
    }
    INFO("worst difference ", worst, " of ", bound);
    CHECK(worst <= bound);
    CHECK(rounded_wrong == 0);
  }
}

TEST_CASE("the vectorised AdamW gives the bits of the scalar update") {
  Cpu cpu(2);
  constexpr std::int64_t kCount = 5003;
  const Tensor gradient = Tensor::random(DType::kF16, kCount, 1);
  Optimizer o{Tensor::random(DType::kF32, kCount, 2), Tensor::random(DType::kF32, kCount, 3),
              Tensor::random(DType::kF32, kCount, 4)};
  for (std::int64_t i = 0; i < kCount; ++i) o.exp_avg_sq.set(i, std::fabs(o.exp_avg_sq[i]));
  o.exp_avg_sq.set(0, 1e-42);  // subnormal: nothing may flush it
  Optimizer expected = o;
  const StepState state = state_of(1e-3, 0.9, 0.999, 7, 0.37F);
  const auto update = AdamRule<true>{1e-8, 0.01}.at<float>(state);
  for (std::int64_t i = 0; i < kCount; ++i) {
    auto m = static_cast<float>(o.exp_avg[i]);
    auto v = static_cast<float>(o.exp_avg_sq[i]);
    auto theta = static_cast<float>(o.master[i]);
    update(static_cast<float>(gradient[i]) * 0.37F, m, v, theta);
    expected.exp_avg.set(i, static_cast<double>(m));
    expected.exp_avg_sq.set(i, static_cast<double>(v));
    expected.master.set(i, static_cast<double>(theta));
  }
  cpu.run(AdamW{o.master, o.exp_avg, o.exp_avg_sq, gradient, {}, state_tensor(state), 1e-8, 0.01});
  CHECK(o.master == expected.master);
  CHECK(o.exp_avg == expected.exp_avg);
  CHECK(o.exp_avg_sq == expected.exp_avg_sq);
}

StepState plain_state(int step, double lr) {
  StepState state;
  state.applied_steps = step;
  state.lr = lr;
  return state;
}

TEST_CASE("Adam with L2 decay puts the decay through the moments: worked by hand") {
  // theta = 2, g = 1, decay 0.5: the gradient is 2, and the first step is lr whatever its size.
  Cpu cpu;
  Optimizer o{Tensor::of(DType::kF64, {2.0}), Tensor::of(DType::kF64, {0.0}), Tensor::of(DType::kF64, {0.0})};
  const Tensor gradient = Tensor::of(DType::kF64, {1.0});
  const Tensor state = state_tensor(state_of(0.1, 0.9, 0.999, 1));
  cpu.run(AdamW{o.master, o.exp_avg, o.exp_avg_sq, gradient, {}, state, 0.0, 0.5, false});
  CHECK(o.exp_avg[0] == doctest::Approx(0.2).epsilon(1e-15));
  CHECK(o.exp_avg_sq[0] == doctest::Approx(0.004).epsilon(1e-13));
  CHECK(o.master[0] == doctest::Approx(1.9).epsilon(1e-13));
}

TEST_CASE("Lion moves by lr against the sign of the mixed gradient, decays, and updates with the second beta") {
  // betas 0.75, 0.5, lr 0.25, decay 0.5. m = 1, g = -2: mixed 0.75 - 0.5 = 0.25 > 0, theta 4 - 0.25 (1 + 2) = 3.25, m
  // -0.5. m = 1, g = -4: mixed 0.75 - 1 < 0, theta 4 - 0.25 (-1 + 2) = 3.75, m -1.5. m = g = 0: decay alone, 4 - 0.25
  // * 2.
  Cpu cpu;
  for (const DType dtype : {DType::kF32, DType::kF64}) {
    Tensor theta = Tensor::of(dtype, {4.0, 4.0, 4.0});
    Tensor m = Tensor::of(dtype, {1.0, 1.0, 0.0});
    const Tensor gradient = Tensor::of(dtype, {-2.0, -4.0, 0.0});
    cpu.run(Lion{theta, m, gradient, {}, state_tensor(state_of(0.25, 0.75, 0.5, 1)), 0.5});
    CHECK(theta == Tensor::of(dtype, {3.25, 3.75, 3.5}));
    CHECK(m == Tensor::of(dtype, {-0.5, -1.5, 0.0}));
  }
}

TEST_CASE("Lion passes a gradient that is not a number on to the weight") {
  Cpu cpu;
  Tensor theta = Tensor::of(DType::kF32, {1.0});
  Tensor m = Tensor::of(DType::kF32, {0.0});
  const Tensor gradient(DType::kF32, 1);  // NaN
  cpu.run(Lion{theta, m, gradient, {}, state_tensor(plain_state(1, 0.1)), 0.0});
  CHECK(std::isnan(theta[0]));
}

TEST_CASE("Adagrad divides by the root of the sum of squares, and the rate by its own decay: worked by hand") {
  // sum 9 + 4^2 = 25: theta = 2 - (0.5 / 2) * 4 / 5 = 1.8; with decay 0.5 the gradient 3 becomes 3 + 0.5 * 2 = 4.
  Cpu cpu;
  for (const double decay : {0.0, 0.5}) {
    Tensor theta = Tensor::of(DType::kF64, {2.0});
    Tensor sum = Tensor::of(DType::kF64, {9.0});
    const Tensor gradient = Tensor::of(DType::kF64, {decay == 0.0 ? 4.0 : 3.0});
    StepState state = plain_state(3, 0.5);
    state.lr_divisor = 2.0;
    cpu.run(Adagrad{theta, sum, gradient, {}, state_tensor(state), 0.0, decay});
    CHECK(sum[0] == 25.0);
    CHECK(theta[0] == doctest::Approx(1.8).epsilon(1e-15));
  }
}

/// Weight and buffer after two updates with gradients 1 and 2 from theta = 1, lr 0.5; the buffer starts as zero.
std::vector<double> two_sgd_updates(Sgd args) {
  Cpu cpu;
  Tensor theta = Tensor::of(DType::kF64, {1.0});
  Tensor buffer = Tensor::of(DType::kF64, {0.0});
  args.master = theta;
  if (args.momentum > 0.0) args.momentum_buffer = buffer;
  for (int step = 1; step <= 2; ++step) {
    const Tensor gradient = Tensor::of(DType::kF64, {static_cast<double>(step)});
    const Tensor state = state_tensor(plain_state(step, 0.5));
    args.gradient = gradient;
    args.state = state;
    cpu.run(args);
  }
  return {theta[0], buffer[0]};
}

TEST_CASE("SGD as torch's, without momentum, with it, with dampening and with Nesterov's: worked by hand") {
  Sgd plain;
  CHECK(two_sgd_updates(plain) == std::vector<double>{-0.5, 0.0});  // 1 - 0.5 - 1
  plain.weight_decay = 0.5;                                         // 1 - 0.5 * 1.5 = 0.25, then - 0.5 * 2.125
  CHECK(two_sgd_updates(plain) == std::vector<double>{-0.8125, 0.0});
  Sgd momentum;
  momentum.momentum = 0.5;  // buffer 1, then 0.5 + 2: 1 - 0.5 - 1.25
  CHECK(two_sgd_updates(momentum) == std::vector<double>{-0.75, 2.5});
  momentum.dampening = 0.25;  // the first buffer takes the whole gradient: 1, then 0.5 + 0.75 * 2
  CHECK(two_sgd_updates(momentum) == std::vector<double>{-0.5, 2.0});
  Sgd nesterov;
  nesterov.momentum = 0.5;
  nesterov.nesterov = true;  // directions 1 + 0.5 * 1, then 2 + 0.5 * 2.5
  CHECK(two_sgd_updates(nesterov) == std::vector<double>{1.0 - 0.75 - 1.625, 2.5});
}

/// fp32 weights and states after one vectorised update and after the same element by element.
template <typename Rule, typename Op>
void check_scalar_bits(const Rule& rule, const Op& op) {
  Cpu cpu(2);
  constexpr std::int64_t kCount = 5003;
  const Tensor gradient = Tensor::random(DType::kBF16, kCount, 1);
  Tensor theta = Tensor::random(DType::kF32, kCount, 2);
  Tensor kept = Tensor::random(DType::kF32, kCount, 3);
  for (std::int64_t i = 0; i < kCount; ++i) kept.set(i, std::fabs(kept[i]));
  kept.set(0, 1e-42);
  StepState state = state_of(1e-3, 0.9, 0.99, 3, 0.37F);
  state.lr_divisor = 1.25;
  Tensor expected_theta = theta;
  Tensor expected_kept = kept;
  const auto update = rule.template at<float>(state);
  for (std::int64_t i = 0; i < kCount; ++i) {
    auto weight = static_cast<float>(theta[i]);
    auto memory = static_cast<float>(kept[i]);
    const float g = static_cast<float>(gradient[i]) * 0.37F;
    if constexpr (Rule::kStates == 1) update(g, memory, weight);
    if constexpr (Rule::kStates == 0) update(g, weight);
    expected_theta.set(i, static_cast<double>(weight));
    expected_kept.set(i, static_cast<double>(memory));
  }
  op(cpu, theta, kept, gradient, state_tensor(state));
  CHECK(theta == expected_theta);
  CHECK(kept == expected_kept);
}

TEST_CASE("the vectorised Lion, Adagrad and SGD give the bits of their scalar updates") {
  check_scalar_bits(LionRule{0.1}, [](Cpu& cpu, Tensor& theta, Tensor& m, const Tensor& g, const Tensor& state) {
    cpu.run(Lion{theta, m, g, {}, state, 0.1});
  });
  check_scalar_bits(AdagradRule{1e-10, 0.1},
                    [](Cpu& cpu, Tensor& theta, Tensor& sum, const Tensor& g, const Tensor& state) {
                      cpu.run(Adagrad{theta, sum, g, {}, state, 1e-10, 0.1});
                    });
  check_scalar_bits(SgdRule{0.1}, [](Cpu& cpu, Tensor& theta, Tensor&, const Tensor& g, const Tensor& state) {
    cpu.run(Sgd{theta, {}, g, {}, state, 0.1});
  });
  check_scalar_bits(MomentumRule<true>{0.1, 0.9, 0.0},
                    [](Cpu& cpu, Tensor& theta, Tensor& buffer, const Tensor& g, const Tensor& state) {
                      cpu.run(Sgd{theta, buffer, g, {}, state, 0.1, 0.9, 0.0, true});
                    });
}

TEST_CASE("an SGD that cannot be is refused") {
  Cpu cpu;
  Tensor theta = Tensor::of(DType::kF32, {1.0});
  const Tensor state = state_tensor(plain_state(1, 0.1));
  CHECK_THROWS_WITH_AS((cpu.run(Sgd{theta, {}, theta, {}, state, 0.0, 0.9})),
                       "sgd: momentum_buffer is needed with momentum", Error);
  CHECK_THROWS_WITH_AS((cpu.run(Sgd{theta, theta, theta, {}, state, 0.0, 0.9, 0.1, true})),
                       "sgd: nesterov needs momentum and no dampening", Error);
}

TEST_CASE("a skipped step changes nothing") {
  Cpu cpu;
  Optimizer o{Tensor::random(DType::kF32, 100, 1), Tensor::random(DType::kF32, 100, 2),
              Tensor::random(DType::kF32, 100, 3)};
  const Optimizer before = o;
  const Tensor gradient(DType::kF16, 100);  // NaN
  Tensor weights = Tensor::random(DType::kF16, 100, 4);
  const Tensor weights_before = weights;
  StepState state = state_of(1e-3, 0.9, 0.999, 1);
  state.skip = 1;
  const Tensor skipped = state_tensor(state);
  cpu.run(AdamW{o.master, o.exp_avg, o.exp_avg_sq, gradient, weights, skipped});
  cpu.run(Lion{o.master, o.exp_avg, gradient, weights, skipped});
  cpu.run(Adagrad{o.master, o.exp_avg, gradient, weights, skipped});
  cpu.run(Sgd{o.master, o.exp_avg, gradient, weights, skipped, 0.0, 0.9});
  CHECK(o.master == before.master);
  CHECK(o.exp_avg == before.exp_avg);
  CHECK(o.exp_avg_sq == before.exp_avg_sq);
  CHECK(weights == weights_before);
}

}  // namespace
}  // namespace llama_zero
