#include "tests/unit/kernels/support.h"

namespace llama_zero {
namespace {

using test::Cpu;
using test::Tensor;

const std::vector<DType> kFloating = {DType::kF32, DType::kF16, DType::kBF16, DType::kF64};
const std::vector<std::int64_t> kCounts = {0, 1, 1023, 40001};

TEST_CASE("cast multiplies by the factor and rounds once, between all pairs of floating dtypes") {
  Cpu cpu(2);
  for (const DType from : kFloating) {
    for (const DType to : kFloating) {
      for (const std::int64_t count : kCounts) {
        const Tensor source = Tensor::random(from, count, 1);
        Tensor destination(to, count);
        cpu.run(Cast{source, destination, 0.5});  // a power of two: the product is exact, so the cast is one rounding
        Tensor expected(to, count);
        for (std::int64_t i = 0; i < count; ++i) expected.set(i, 0.5 * source[i]);
        // The set() of 16-bit types rounds by way of a float; from fp64 that may differ in ties, tested in
        // test_convert.
        if (from != DType::kF64 || to == DType::kF64 || to == DType::kF32) CHECK(destination == expected);
        test::Expected within(count);
        for (std::int64_t i = 0; i < count; ++i) within.set(i, 0.5 * source[i], 0.0);
        test::check_within("cast", destination, within);
      }
    }
  }
}

TEST_CASE("cast in place scales") {
  Cpu cpu;
  for (const DType dtype : kFloating) {
    const Tensor before = Tensor::random(dtype, 3000, 1);
    Tensor t = before;
    cpu.run(Cast{t, t, 2.0});
    int wrong = 0;
    for (std::int64_t i = 0; i < 3000; ++i) wrong += t[i] == 2.0 * before[i] ? 0 : 1;
    CHECK(wrong == 0);
  }
}

TEST_CASE("add rounds the sum once, between all pairs of floating dtypes") {
  Cpu cpu(2);
  for (const DType from : kFloating) {
    for (const DType to : kFloating) {
      for (const std::int64_t count : kCounts) {
        const Tensor source = Tensor::random(from, count, 1);
        const Tensor before = Tensor::random(to, count, 2);
        Tensor destination = before;
        cpu.run(Add{source, destination});
        test::Expected expected(count);
        const bool in_double = from == DType::kF64 || to == DType::kF64;
        for (std::int64_t i = 0; i < count; ++i) {
          const double sum = before[i] + source[i];
          expected.set(i, sum, (in_double ? 1e-16 : test::kU32) * std::fabs(sum));
        }
        test::check_within("add", destination, expected);
      }
    }
  }
}

TEST_CASE("fill writes the value to every element and no other") {
  Cpu cpu(2);
  for (const DType dtype : kFloating) {
    for (const std::int64_t count : kCounts) {
      Tensor t(dtype, count + 1);
      cpu.run(Fill{t.view().slice(0, count), -1.5});
      int wrong = 0;
      for (std::int64_t i = 0; i < count; ++i) wrong += t[i] == -1.5 ? 0 : 1;
      CHECK(wrong == 0);
      CHECK(std::isnan(t[count]));
    }
  }
}

}  // namespace
}  // namespace llama_zero
