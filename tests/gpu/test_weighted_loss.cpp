// Cross-entropy rows that count differently: the GPU against the CPU, on both of its paths.
#include "tests/gpu/gpu_test.h"

namespace llama_zero::test {
namespace {

GPU_TEST_CASE("cross-entropy weighs rows as the CPU does") {
  struct Shape {
    std::int64_t rows, vocab;
  };
  for (const DType dtype : kStorageTypes) {
    // 300 x 32000 in 16 bits takes the streamed path, 509 the one element by element.
    for (const Shape shape : {Shape{5, 509}, Shape{40, 512}, Shape{sized(300, 20), 32000}}) {
      for (const bool forward_only : {false, true}) {
        CAPTURE(shape.vocab);
        CAPTURE(forward_only);
        Case c;
        Pair& logits = c.random(dtype, shape.rows * shape.vocab, 4.0);
        Pair& targets = c.ints(random_ints(shape.rows, shape.vocab, 11));
        Pair& losses = c.output(DType::kF32, shape.rows);
        std::vector<double> factors;
        for (std::int64_t row = 0; row < shape.rows; ++row) factors.push_back(static_cast<double>(row % 5) / 4.0);
        Pair& weights = c.tensor(Tensor::of(DType::kF32, factors));
        c.run([&](auto side, Ops& ops, Stream& s) {
          ops.cross_entropy({shape.rows, shape.vocab, side(logits), side(targets), side(losses), 8.0, View{},
                             forward_only, side(weights)},
                            s);
        });
        // As without weights (test_cross_entropy.cpp); they are at most 1 and multiply once more.
        const double power = (dtype == DType::kF32 ? 8.0 * kU32 : 4e-6) + sum_bound(shape.vocab, 1.0);
        losses.check_close("losses", 8.0 * kU32, power + 64.0 * kU32);
        if (forward_only) {
          logits.check_same_bits("logits");
        } else {
          logits.check_close("gradient", 2.0 * power + 4.0 * kU32, 8.0 * (2.0 * power));
        }
      }
    }
  }
}

}  // namespace
}  // namespace llama_zero::test
