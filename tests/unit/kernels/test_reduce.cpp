#include "tests/unit/kernels/support.h"

namespace llama_zero {
namespace {

using test::Cpu;
using test::Tensor;

/// The contract in scalar fp32: pieces in rank order, then the factor, then the old value, then one rounding.
float reduced(const Tensor& pieces, std::int64_t ranks, std::int64_t n, std::int64_t i, float factor,
              const Tensor* old) {
  auto total = static_cast<float>(pieces[i]);
  for (std::int64_t r = 1; r < ranks; ++r) total += static_cast<float>(pieces[r * n + i]);
  total *= factor;
  return old != nullptr ? total + static_cast<float>((*old)[i]) : total;
}

TEST_CASE("reduce_pieces sums in rank order in fp32 and rounds once, bit for bit, at any dtype of output") {
  Cpu cpu(2);
  const float factor = 1.0F / 3.0F;
  for (const DType dtype : test::kStorageTypes) {
    for (const DType output_dtype : test::kStorageTypes) {
      for (const std::int64_t ranks : {1, 3, 8}) {
        for (const std::int64_t n : {1, 509, 20011}) {
          for (const bool accumulate : {false, true}) {
            const Tensor pieces = Tensor::random(dtype, ranks * n, 1);
            const Tensor old = Tensor::random(output_dtype, n, 2);
            Tensor output = accumulate ? old : Tensor(output_dtype, n);
            cpu.run(ReducePieces{ranks, pieces, static_cast<double>(factor), output, accumulate});
            Tensor expected(output_dtype, n);
            for (std::int64_t i = 0; i < n; ++i) {
              expected.set(i, static_cast<double>(reduced(pieces, ranks, n, i, factor, accumulate ? &old : nullptr)));
            }
            CHECK(output == expected);
          }
        }
      }
    }
  }
}

TEST_CASE("reduce_pieces may write over any of its pieces") {
  Cpu cpu;
  const std::int64_t n = 5000;
  for (const DType dtype : test::kStorageTypes) {
    const Tensor pieces = Tensor::random(dtype, 3 * n, 1);
    Tensor expected(dtype, n);
    cpu.run(ReducePieces{3, pieces, 0.5, expected, false});
    for (std::int64_t rank = 0; rank < 3; ++rank) {
      Tensor copy = pieces;
      const View target = copy.view().slice(rank * n, n);
      cpu.run(ReducePieces{3, copy, 0.5, target, false});
      CHECK(std::equal(target.raw(), target.raw() + target.bytes(), expected.view().raw()));
    }
  }
}

/// The layout rule of ops.h in plain loops.
double layout_rule(const Tensor& values, double start) {
  double total = start;
  double group = 0.0;
  for (std::int64_t segment = 0; segment < values.numel(); segment += kNormSegment) {
    std::vector<float> lanes(kNormLanes, 0.0F);
    const std::int64_t end = std::min(values.numel(), segment + kNormSegment);
    for (std::int64_t i = segment; i < end; ++i) {
      float& lane = lanes[static_cast<std::size_t>((i - segment) % kNormLanes)];
      const auto x = static_cast<float>(values[i]);
      lane = std::fma(x, x, lane);
    }
    for (std::size_t width = kNormLanes / 2; width > 0; width /= 2) {
      for (std::size_t l = 0; l < width; ++l) lanes[l] += lanes[l + width];
    }
    group += static_cast<double>(lanes[0]);
    if ((segment / kNormSegment + 1) % kNormGroup == 0 || end == values.numel()) {
      total += group;
      group = 0.0;
    }
  }
  return total;
}

TEST_CASE("sum_of_squares follows the layout rule bit for bit") {
  Cpu cpu(2);
  for (const DType dtype : test::kStorageTypes) {
    for (const std::int64_t count : {0, 1, 255, 256, 257, 4095, 4096, 4097, 300 * 4096 + 777}) {
      const Tensor values = Tensor::random(dtype, count, 1);
      Tensor result(DType::kF64, 2);
      cpu.run(SumOfSquares{values, result, false});
      CAPTURE(count);
      CHECK(result[0] == layout_rule(values, 0.0));
      CHECK(result[1] == 0.0);
      result = Tensor::of(DType::kF64, {2.5, 3.0});
      cpu.run(SumOfSquares{values, result, true});
      CHECK(result[0] == layout_rule(values, 2.5));
      CHECK(result[1] == 3.0);
    }
  }
}

TEST_CASE("sum_of_squares counts infinities and NaN anywhere, the last short segment included") {
  Cpu cpu(2);
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kF64}) {
    Tensor values = Tensor::random(dtype, 4096 + 300, 1);
    values.set(0, INFINITY);
    values.set(4095, -INFINITY);
    values.set(4096, NAN);
    values.set(4096 + 299, NAN);
    Tensor result(DType::kF64, 2);
    cpu.run(SumOfSquares{values, result, false});
    CHECK(result[1] == 4.0);
  }
}

TEST_CASE("sum_of_squares in fp64 is exact for integers beyond fp32") {
  Cpu cpu;
  const Tensor values = Tensor::of(DType::kF64, {67108865.0, 1.0});
  Tensor result(DType::kF64, 2);
  cpu.run(SumOfSquares{values, result, false});
  CHECK(result[0] == 67108865.0 * 67108865.0 + 1.0);
}

}  // namespace
}  // namespace llama_zero
