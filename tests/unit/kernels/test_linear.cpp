#include "tests/unit/kernels/support.h"

namespace llama_zero {
namespace {

using test::Cpu;
using test::Expected;
using test::Tensor;

struct Shape {
  std::int64_t rows, in, out;
};
// Smaller than any tile, larger than one, not a multiple of any, deeper than one block of K.
const std::vector<Shape> kShapes = {{1, 8, 1}, {1, 192, 509}, {3, 5, 7}, {67, 130, 300}, {300, 70, 33}, {530, 900, 40}};

/// sum over k of a(i, k) b(k, j) in double; in fp32 any order of summing is within k u of the terms' magnitudes, and
/// the old value adds one term.
template <typename A, typename B>
Expected product(std::int64_t m, std::int64_t n, std::int64_t k, const A& a, const B& b, const Tensor* old) {
  Expected expected(m * n);
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t j = 0; j < n; ++j) {
      double value = old != nullptr ? (*old)[i * n + j] : 0.0;
      double magnitude = std::fabs(value);
      for (std::int64_t l = 0; l < k; ++l) {
        const double term = a(i, l) * b(l, j);
        value += term;
        magnitude += std::fabs(term);
      }
      expected.set(i * n + j, value, test::kU32 * static_cast<double>(k + 2) * magnitude);
    }
  }
  return expected;
}

auto plain(const std::vector<double>& v, std::int64_t stride) {
  return [&v, stride](std::int64_t i, std::int64_t j) { return v[static_cast<std::size_t>(i * stride + j)]; };
}
auto transposed(const std::vector<double>& v, std::int64_t stride) {
  return [&v, stride](std::int64_t i, std::int64_t j) { return v[static_cast<std::size_t>(j * stride + i)]; };
}

TEST_CASE("linear_forward matches a double reference at odd shapes") {
  Cpu cpu(2);
  for (const DType dtype : test::kStorageTypes) {
    for (const auto [rows, in, out] : kShapes) {
      CAPTURE(rows);
      const Tensor input = Tensor::random(dtype, rows * in, 1);
      const Tensor weight = Tensor::random(dtype, out * in, 2);
      Tensor output(dtype, rows * out);
      cpu.run(LinearForward{rows, in, out, input, weight, output});
      const auto x = input.values();
      const auto w = weight.values();
      test::check_within("y", output, product(rows, out, in, plain(x, in), transposed(w, in), nullptr));
    }
  }
}

TEST_CASE("linear_backward_input matches a double reference, overwriting and accumulating") {
  Cpu cpu(2);
  for (const DType dtype : test::kStorageTypes) {
    for (const auto [rows, in, out] : kShapes) {
      CAPTURE(rows);
      const Tensor grad_output = Tensor::random(dtype, rows * out, 1);
      const Tensor weight = Tensor::random(dtype, out * in, 2);
      const auto g = grad_output.values();
      const auto w = weight.values();
      Tensor grad_input(dtype, rows * in);
      cpu.run(LinearBackwardInput{rows, in, out, grad_output, weight, grad_input, false});
      test::check_within("dx", grad_input, product(rows, in, out, plain(g, out), plain(w, in), nullptr));
      const Tensor old = Tensor::random(dtype, rows * in, 3);
      grad_input = old;
      cpu.run(LinearBackwardInput{rows, in, out, grad_output, weight, grad_input, true});
      test::check_within("dx accumulated", grad_input, product(rows, in, out, plain(g, out), plain(w, in), &old));
    }
  }
}

TEST_CASE("linear_backward_weight matches a double reference into the model's dtype and into fp32") {
  Cpu cpu(2);
  for (const DType dtype : test::kStorageTypes) {
    for (const DType weight_dtype : {dtype, DType::kF32}) {
      for (const auto [rows, in, out] : kShapes) {
        CAPTURE(rows);
        const Tensor grad_output = Tensor::random(dtype, rows * out, 1);
        const Tensor input = Tensor::random(dtype, rows * in, 2);
        const auto g = grad_output.values();
        const auto x = input.values();
        Tensor grad_weight(weight_dtype, out * in);
        cpu.run(LinearBackwardWeight{rows, in, out, grad_output, input, grad_weight, false});
        test::check_within("dw", grad_weight, product(out, in, rows, transposed(g, out), plain(x, in), nullptr));
        const Tensor old = Tensor::random(weight_dtype, out * in, 3);
        grad_weight = old;
        cpu.run(LinearBackwardWeight{rows, in, out, grad_output, input, grad_weight, true});
        test::check_within("dw accumulated", grad_weight,
                           product(out, in, rows, transposed(g, out), plain(x, in), &old));
      }
    }
  }
}

TEST_CASE("a product over no rows is zero") {
  Cpu cpu;
  for (const DType dtype : test::kStorageTypes) {
    const Tensor nothing(dtype, 0);
    Tensor grad_weight(dtype, 6);
    cpu.run(LinearBackwardWeight{0, 2, 3, nothing, nothing, grad_weight, false});
    CHECK(grad_weight == Tensor::of(dtype, std::vector<double>(6, 0.0)));
  }
}

TEST_CASE("linear sums halves in fp32 over all blocks of K and rounds once") {
  // 1000 terms of 1 after a term of 2048: any rounding to fp16 on the way would lose ones.
  Cpu cpu;
  const std::int64_t depth = 1001;
  Tensor input = Tensor::of(DType::kF16, std::vector<double>(depth, 1.0));
  input.set(0, 2048.0);
  const Tensor weight = Tensor::of(DType::kF16, std::vector<double>(depth, 1.0));
  Tensor output(DType::kF16, 1);
  cpu.run(LinearForward{1, depth, 1, input, weight, output});
  CHECK(output[0] == 3048.0);
}

}  // namespace
}  // namespace llama_zero
