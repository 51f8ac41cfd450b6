// Cross-entropy rows that count differently.
#include <cmath>

#include "tests/unit/kernels/support.h"

namespace llama_zero {
namespace {

using test::Cpu;
using test::Tensor;

TEST_CASE("a row's loss and gradient are multiplied by its weight") {
  Cpu cpu;
  for (const DType dtype : {DType::kF64, DType::kF32, DType::kF16, DType::kBF16}) {
    CAPTURE(name_of(dtype));
    const DType stat = stat_dtype(dtype);
    Tensor targets = Tensor::ints({1, 0, kIgnoreTarget, 1});
    Tensor weights = Tensor::of(DType::kF32, {0.5, 2.0, 4.0, 0.0});
    const Tensor logits = Tensor::of(dtype, {0, 1, 0, 1, 0, 1, 0, 1});
    Tensor plain = logits, weighted = logits, alone = logits;
    Tensor plain_losses(stat, 4), losses(stat, 4), losses_alone(stat, 4);
    cpu.run(CrossEntropy{4, 2, plain, targets, plain_losses, 4.0, {}, false});
    cpu.run(CrossEntropy{4, 2, weighted, targets, losses, 4.0, {}, false, weights});
    cpu.run(CrossEntropy{4, 2, alone, targets, losses_alone, 1.0, {}, true, weights});
    for (int row = 0; row < 4; ++row) {
      CAPTURE(row);
      const double factor = weights[row];
      // Weights that are powers of two: nothing rounds otherwise.
      CHECK(losses[row] == factor * plain_losses[row]);
      CHECK(losses_alone[row] == losses[row]);
      for (int i = 2 * row; i < 2 * row + 2; ++i) CHECK(weighted[i] == factor * plain[i]);
    }
    // softmax of (0, 1): the loss of target 1 is log(1 + 1/e).
    CHECK(losses[0] == doctest::Approx(0.5 * std::log1p(std::exp(-1.0))).epsilon(1e-6));
  }
}

TEST_CASE("weights must be fp32, one a row") {
  Cpu cpu;
  Tensor logits(DType::kF32, 4), losses(DType::kF32, 2), targets = Tensor::ints({0, 0});
  Tensor three(DType::kF32, 3), halves(DType::kF16, 2);
  CHECK_THROWS_AS(cpu.run(CrossEntropy{2, 2, logits, targets, losses, 1.0, {}, false, three}), Error);
  CHECK_THROWS_AS(cpu.run(CrossEntropy{2, 2, logits, targets, losses, 1.0, {}, false, halves}), Error);
}

}  // namespace
}  // namespace llama_zero
