// Gradient of softmax cross-entropy.
#include "tests/gradient/test_op_support.h"

namespace llama_zero {
namespace {

using test::check_gradient;
using test::DoubleOps;
using test::Numbers;
using test::random_numbers;
using test::view_of;

TEST_CASE("the gradient of cross-entropy agrees with central differences, ignored rows and seed included") {
  DoubleOps ops;
  const std::int64_t rows = 4, vocab = 11;
  const std::vector<std::int32_t> targets = {3, kIgnoreTarget, 10, 0};
  const std::vector<float> loss_scale = {8.0F};
  const ConstView scale = ConstView::of(std::span<const float>(loss_scale));
  Numbers logits = random_numbers(rows * vocab, 1, 2.0);
  Numbers losses(static_cast<std::size_t>(rows));
  const auto loss = [&] {
    Numbers copy = logits;
    ops->cross_entropy({rows, vocab, view_of(copy), view_of(targets), view_of(losses), 1.0, {}, true}, ops.stream());
    double total = 0.0;
    ops->sum_losses({view_of(std::as_const(losses)), View::of(std::span<double>(&total, 1)), false}, ops.stream());
    return 0.25 * 8.0 * total;
  };
  Numbers grad = logits;
  ops->cross_entropy({rows, vocab, view_of(grad), view_of(targets), view_of(losses), 0.25, scale, false}, ops.stream());
  check_gradient("cross-entropy logits", logits, grad, loss);
  for (std::size_t v = 0; v < 11; ++v) CHECK(grad[11 + v] == 0.0);
}

}  // namespace
}  // namespace llama_zero
