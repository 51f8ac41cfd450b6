// Gradients of embedding, linear, rmsnorm and swiglu.
#include "tests/gradient/test_op_support.h"

namespace llama_zero {
namespace {

using test::check_gradient;
using test::DoubleOps;
using test::inner;
using test::Numbers;
using test::random_numbers;
using test::view_of;

TEST_CASE("the gradient of embedding agrees with central differences, repeated tokens included") {
  DoubleOps ops;
  const std::vector<std::int32_t> tokens = {2, 0, 2, 4, 2};
  Numbers table = random_numbers(5 * 3, 1);
  const Numbers upstream = random_numbers(5 * 3, 2);
  Numbers output(15);
  const auto loss = [&] {
    ops->embedding_forward({5, 3, 5, view_of(tokens), view_of(table), view_of(output)}, ops.stream());
    return inner(output, upstream);
  };
  Numbers grad(15, NAN);
  ops->embedding_backward({5, 3, 5, view_of(tokens), view_of(upstream), view_of(grad), false}, ops.stream());
  check_gradient("embedding table", table, grad, loss);
}

TEST_CASE("the gradients of linear agree with central differences") {
  DoubleOps ops;
  const std::int64_t rows = 5, in = 7, out = 4;
  Numbers input = random_numbers(rows * in, 1);
  Numbers weight = random_numbers(out * in, 2);
  const Numbers upstream = random_numbers(rows * out, 3);
  Numbers output(static_cast<std::size_t>(rows * out));
  const auto loss = [&] {
    ops->linear_forward({rows, in, out, view_of(input), view_of(weight), view_of(output)}, ops.stream());
    return inner(output, upstream);
  };
  Numbers grad_input(input.size(), NAN);
  Numbers grad_weight(weight.size(), NAN);
  ops->linear_backward_input({rows, in, out, view_of(upstream), view_of(weight), view_of(grad_input), false},
                             ops.stream());
  ops->linear_backward_weight({rows, in, out, view_of(upstream), view_of(input), view_of(grad_weight), false},
                              ops.stream());
  check_gradient("linear input", input, grad_input, loss);
  check_gradient("linear weight", weight, grad_weight, loss);
}

struct NormCase {
  static constexpr std::int64_t kRows = 4;
  static constexpr std::int64_t kHidden = 9;
  static constexpr double kEps = 1e-2;  // large enough to matter in the gradient
  DoubleOps ops;
  Numbers input = random_numbers(kRows * kHidden, 1);
  Numbers weight = random_numbers(kHidden, 2);
  Numbers upstream = random_numbers(kRows * kHidden, 3);
  Numbers output = Numbers(kRows * kHidden), rstd = Numbers(kRows);
};

TEST_CASE("the gradients of rmsnorm agree with central differences") {
  NormCase c;
  const auto loss = [&] {
    c.ops->rmsnorm_forward(
        {c.kRows, c.kHidden, c.kEps, view_of(c.input), {}, view_of(c.weight), {}, view_of(c.output), view_of(c.rstd)},
        c.ops.stream());
    return inner(c.output, c.upstream);
  };
  loss();
  Numbers grad_input(c.input.size(), NAN);
  Numbers grad_weight(c.weight.size(), NAN);
  c.ops->rmsnorm_backward({c.kRows,
                           c.kHidden,
                           view_of(c.upstream),
                           view_of(c.input),
                           view_of(c.weight),
                           view_of(c.rstd),
                           {},
                           view_of(grad_input),
                           view_of(grad_weight),
                           false},
                          c.ops.stream());
  check_gradient("rmsnorm input", c.input, grad_input, loss);
  check_gradient("rmsnorm weight", c.weight, grad_weight, loss);
}

TEST_CASE("the gradients of rmsnorm with a fused residual agree with central differences in both addends") {
  NormCase c;
  Numbers residual = random_numbers(c.kRows * c.kHidden, 4);
  const Numbers sum_upstream = random_numbers(c.kRows * c.kHidden, 5);  // the sum is used twice: its own gradient
  Numbers sum(c.input.size());
  const auto loss = [&] {
    c.ops->rmsnorm_forward({c.kRows, c.kHidden, c.kEps, view_of(c.input), view_of(residual), view_of(c.weight),
                            view_of(sum), view_of(c.output), view_of(c.rstd)},
                           c.ops.stream());
    return inner(c.output, c.upstream) + inner(sum, sum_upstream);
  };
  loss();
  Numbers grad(c.input.size(), NAN);
  Numbers grad_weight(c.weight.size(), NAN);
  c.ops->rmsnorm_backward({c.kRows, c.kHidden, view_of(c.upstream), view_of(sum), view_of(c.weight), view_of(c.rstd),
                           view_of(sum_upstream), view_of(grad), view_of(grad_weight), false},
                          c.ops.stream());
  check_gradient("rmsnorm fused input", c.input, grad, loss);
  check_gradient("rmsnorm fused residual", residual, grad, loss);
  check_gradient("rmsnorm fused weight", c.weight, grad_weight, loss);
}

TEST_CASE("the gradient of swiglu agrees with central differences in gate and up") {
  DoubleOps ops;
  Numbers gate_up = random_numbers(3 * 2 * 5, 1, 2.0);
  const Numbers upstream = random_numbers(3 * 5, 2);
  Numbers output(15);
  const auto loss = [&] {
    ops->swiglu_forward({3, 5, view_of(gate_up), view_of(output)}, ops.stream());
    return inner(output, upstream);
  };
  Numbers grad(30, NAN);
  ops->swiglu_backward({3, 5, view_of(upstream), view_of(gate_up), view_of(grad)}, ops.stream());
  check_gradient("swiglu", gate_up, grad, loss);
}

}  // namespace
}  // namespace llama_zero
