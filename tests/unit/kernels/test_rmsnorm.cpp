#include "tests/unit/kernels/support.h"

namespace llama_zero {
namespace {

using test::Cpu;
using test::Expected;
using test::Tensor;

constexpr double kEps = 1e-5;

/// Checks output and rstd of normalising `x` against double. A mean of H squares is within (H + 2) u of the exact one,
/// relatively, and its inverse root within half of that and two roundings more.
void check_normalised(const Tensor& x, const Tensor& weight, const Tensor& output, const Tensor& rstd,
                      std::int64_t rows, std::int64_t hidden) {
  Expected expected(rows * hidden);
  Expected expected_rstd(rows);
  const double relative = (static_cast<double>(hidden) / 2.0 + 6.0) * test::kU32;
  for (std::int64_t t = 0; t < rows; ++t) {
    double squares = 0.0;
    for (std::int64_t h = 0; h < hidden; ++h) squares += x[t * hidden + h] * x[t * hidden + h];
    const double r = 1.0 / std::sqrt(squares / static_cast<double>(hidden) + kEps);
    expected_rstd.set(t, r, relative * r);
    for (std::int64_t h = 0; h < hidden; ++h) {
      const double y = x[t * hidden + h] * r * weight[h];
      expected.set(t * hidden + h, y, relative * std::fabs(y));
    }
  }
  test::check_within("rmsnorm output", output, expected);
  test::check_within("rstd", rstd, expected_rstd);
}

struct Shape {
  std::int64_t rows, hidden;
};
const std::vector<Shape> kShapes = {{1, 8}, {3, 2500}, {131, 192}, {2100, 33}};

TEST_CASE("rmsnorm_forward matches a double reference with and without a residual") {
  Cpu cpu(2);
  for (const DType dtype : test::kStorageTypes) {
    for (const auto [rows, hidden] : kShapes) {
      CAPTURE(rows);
      CAPTURE(hidden);
      const Tensor input = Tensor::random(dtype, rows * hidden, 1);
      const Tensor residual = Tensor::random(dtype, rows * hidden, 2);
      const Tensor weight = Tensor::random(dtype, hidden, 3);
      Tensor output(dtype, rows * hidden);
      Tensor rstd(DType::kF32, rows);
      cpu.run(RmsNormForward{rows, hidden, kEps, input, {}, weight, {}, output, rstd});
      check_normalised(input, weight, output, rstd, rows, hidden);

      Tensor sum(dtype, rows * hidden);
      cpu.run(RmsNormForward{rows, hidden, kEps, input, residual, weight, sum, output, rstd});
      Expected expected_sum(rows * hidden);
      for (std::int64_t i = 0; i < rows * hidden; ++i) {
        const double exact = input[i] + residual[i];
        expected_sum.set(i, exact, test::kU32 * std::fabs(exact));
      }
      test::check_within("sum", sum, expected_sum);
      check_normalised(sum, weight, output, rstd, rows, hidden);
    }
  }
}

TEST_CASE("rmsnorm_forward gives the same bits when sum aliases input or residual") {
  Cpu cpu;
  for (const DType dtype : test::kStorageTypes) {
    const std::int64_t rows = 5;
    const std::int64_t hidden = 1100;
    const Tensor input = Tensor::random(dtype, rows * hidden, 1);
    const Tensor residual = Tensor::random(dtype, rows * hidden, 2);
    const Tensor weight = Tensor::random(dtype, hidden, 3);
    Tensor sum(dtype, rows * hidden);
    Tensor output(dtype, rows * hidden);
    Tensor rstd(DType::kF32, rows);
    cpu.run(RmsNormForward{rows, hidden, kEps, input, residual, weight, sum, output, rstd});
    for (const bool over_input : {true, false}) {
      Tensor a = input;
      Tensor b = residual;
      Tensor& target = over_input ? a : b;
      Tensor aliased_output(dtype, rows * hidden);
      Tensor aliased_rstd(DType::kF32, rows);
      cpu.run(RmsNormForward{rows, hidden, kEps, a, b, weight, target, aliased_output, aliased_rstd});
      CHECK(target == sum);
      CHECK(aliased_output == output);
      CHECK(aliased_rstd == rstd);
    }
  }
}

struct BackwardCase {
  Tensor grad_output, input, weight, rstd, grad_residual;
  BackwardCase(DType dtype, std::int64_t rows, std::int64_t hidden)
      : grad_output(Tensor::random(dtype, rows * hidden, 4)),
        input(Tensor::random(dtype, rows * hidden, 5)),
        weight(Tensor::random(dtype, hidden, 6)),
        rstd(DType::kF32, rows),
        grad_residual(Tensor::random(dtype, rows * hidden, 7)) {
    for (std::int64_t t = 0; t < rows; ++t) rstd.set(t, 0.5 + 0.01 * static_cast<double>(t % 50));
  }
};

/// dx = rstd (w g - x rstd^2 mean(w g x)): the mean is within (H + 3) u of its terms' magnitudes.
Expected expected_input_gradient(const BackwardCase& c, std::int64_t rows, std::int64_t hidden, bool residual) {
  Expected expected(rows * hidden);
  for (std::int64_t t = 0; t < rows; ++t) {
    const double r = c.rstd[t];
    double projection = 0.0;
    double magnitude = 0.0;
    for (std::int64_t h = 0; h < hidden; ++h) {
      const double term = c.weight[h] * c.grad_output[t * hidden + h] * c.input[t * hidden + h];
      projection += term / static_cast<double>(hidden);
      magnitude += std::fabs(term) / static_cast<double>(hidden);
    }
    for (std::int64_t h = 0; h < hidden; ++h) {
      const std::int64_t i = t * hidden + h;
      const double first = r * c.weight[h] * c.grad_output[i];
      const double second = r * r * r * c.input[i];
      const double added = residual ? c.grad_residual[i] : 0.0;
      const double bound =
          test::kU32 * (4.0 * std::fabs(first) + (static_cast<double>(hidden) + 8.0) * std::fabs(second) * magnitude +
                        std::fabs(added));
      expected.set(i, first - second * projection + added, bound);
    }
  }
  return expected;
}

Expected expected_weight_gradient(const BackwardCase& c, std::int64_t rows, std::int64_t hidden, const Tensor* old) {
  Expected expected(hidden);
  for (std::int64_t h = 0; h < hidden; ++h) {
    double value = old != nullptr ? (*old)[h] : 0.0;
    double magnitude = std::fabs(value);
    for (std::int64_t t = 0; t < rows; ++t) {
      const double term = c.grad_output[t * hidden + h] * c.input[t * hidden + h] * c.rstd[t];
      value += term;
      magnitude += std::fabs(term);
    }
    expected.set(h, value, test::kU32 * (static_cast<double>(rows) + 4.0) * magnitude);
  }
  return expected;
}

TEST_CASE("rmsnorm_backward matches a double reference, residual and accumulation included") {
  Cpu cpu(2);
  for (const DType dtype : test::kStorageTypes) {
    for (const auto [rows, hidden] : kShapes) {
      for (const DType weight_dtype : {dtype, DType::kF32}) {
        CAPTURE(rows);
        CAPTURE(hidden);
        const BackwardCase c(dtype, rows, hidden);
        Tensor grad_input(dtype, rows * hidden);
        Tensor grad_weight(weight_dtype, hidden);
        cpu.run(RmsNormBackward{rows, hidden, c.grad_output, c.input, c.weight, c.rstd, {}, grad_input, grad_weight});
        test::check_within("dx", grad_input, expected_input_gradient(c, rows, hidden, false));
        test::check_within("dw", grad_weight, expected_weight_gradient(c, rows, hidden, nullptr));

        const Tensor old = Tensor::random(weight_dtype, hidden, 8);
        grad_weight = old;
        cpu.run(RmsNormBackward{rows, hidden, c.grad_output, c.input, c.weight, c.rstd, c.grad_residual, grad_input,
                                grad_weight, true});
        test::check_within("dx with residual", grad_input, expected_input_gradient(c, rows, hidden, true));
        test::check_within("dw accumulated", grad_weight, expected_weight_gradient(c, rows, hidden, &old));
      }
    }
  }
}

TEST_CASE("rmsnorm_backward gives the same bits when grad_input aliases grad_residual or grad_output") {
  Cpu cpu;
  for (const DType dtype : test::kStorageTypes) {
    const std::int64_t rows = 40;
    const std::int64_t hidden = 1100;
    const BackwardCase c(dtype, rows, hidden);
    Tensor grad_input(dtype, rows * hidden);
    Tensor grad_weight(DType::kF32, hidden);
    cpu.run(RmsNormBackward{rows, hidden, c.grad_output, c.input, c.weight, c.rstd, c.grad_residual, grad_input,
                            grad_weight});
    for (const bool over_residual : {true, false}) {
      BackwardCase copy = c;
      Tensor& target = over_residual ? copy.grad_residual : copy.grad_output;
      Tensor weight_again(DType::kF32, hidden);
      cpu.run(RmsNormBackward{rows, hidden, copy.grad_output, copy.input, copy.weight, copy.rstd, copy.grad_residual,
                              target, weight_again});
      CHECK(target == grad_input);
      CHECK(weight_again == grad_weight);
    }
  }
}

}  // namespace
}  // namespace llama_zero
