#include "tests/unit/kernels/support.h"

namespace llama_zero {
namespace {

using test::Cpu;
using test::Expected;
using test::Tensor;

struct RopeCase {
  std::int64_t tokens = 70, query_heads = 4, kv_heads = 2, head_dim, max_position = 40;
  Tensor positions, cos_sin;

  explicit RopeCase(std::int64_t dim, DType table_dtype) : head_dim(dim), cos_sin(table_dtype, 40 * dim) {
    std::vector<std::int32_t> p;
    for (std::int32_t t = 0; t < 70; ++t) p.push_back(t < 30 ? t : t - 30);
    positions = Tensor::ints(p);
    for (std::int64_t pos = 0; pos < max_position; ++pos) {
      for (std::int64_t i = 0; i < dim / 2; ++i) {
        const double angle =
            static_cast<double>(pos) * std::pow(10000.0, -2.0 * static_cast<double>(i) / static_cast<double>(dim));
        cos_sin.set(pos * dim + 2 * i, std::cos(angle));
        cos_sin.set(pos * dim + 2 * i + 1, std::sin(angle));
      }
    }
  }
  std::int64_t width() const { return (query_heads + 2 * kv_heads) * head_dim; }
  Rope args(Tensor& qkv, bool inverse) const {
    return {tokens, query_heads, kv_heads, head_dim, max_position, qkv, positions, cos_sin, inverse};
  }
};

Expected rotated(const RopeCase& c, const Tensor& qkv, bool inverse) {
  Expected expected(qkv.numel());
  for (std::int64_t i = 0; i < qkv.numel(); ++i) expected.set(i, qkv[i], 0.0);
  const std::int64_t half = c.head_dim / 2;
  for (std::int64_t t = 0; t < c.tokens; ++t) {
    for (std::int64_t head = 0; head < c.query_heads + c.kv_heads; ++head) {
      for (std::int64_t i = 0; i < half; ++i) {
        const std::int64_t at = t * c.width() + head * c.head_dim + i;
        const auto entry = static_cast<std::int64_t>(c.positions[t]) * c.head_dim + 2 * i;
        const double co = c.cos_sin[entry];
        const double si = inverse ? -c.cos_sin[entry + 1] : c.cos_sin[entry + 1];
        const double bound = 2.0 * test::kU32 * (std::fabs(qkv[at]) + std::fabs(qkv[at + half]));
        expected.set(at, qkv[at] * co - qkv[at + half] * si, bound);
        expected.set(at + half, qkv[at + half] * co + qkv[at] * si, bound);
      }
    }
  }
  return expected;
}

TEST_CASE("rope rotates query and key heads by the position's angle and leaves values alone") {
  Cpu cpu(2);
  for (const DType dtype : test::kStorageTypes) {
    for (const std::int64_t dim : {8, 24, 64, 256}) {
      for (const bool inverse : {false, true}) {
        const RopeCase c(dim, DType::kF32);
        const Tensor before = Tensor::random(dtype, c.tokens * c.width(), 1);
        Tensor qkv = before;
        cpu.run(c.args(qkv, inverse));
        test::check_within("rope", qkv, rotated(c, before, inverse));
      }
    }
  }
}

TEST_CASE("the inverse rotation undoes rope") {
  Cpu cpu;
  const RopeCase c(32, DType::kF64);
  const Tensor before = Tensor::random(DType::kF64, c.tokens * c.width(), 1);
  Tensor qkv = before;
  cpu.run(c.args(qkv, false));
  CHECK_FALSE(qkv == before);
  cpu.run(c.args(qkv, true));
  double worst = 0.0;
  for (std::int64_t i = 0; i < qkv.numel(); ++i) worst = std::max(worst, std::fabs(qkv[i] - before[i]));
  INFO("worst difference ", worst);
  CHECK(worst < 1e-14);
}

TEST_CASE("a position beyond the rope table throws") {
  Cpu cpu;
  RopeCase c(8, DType::kF32);
  c.positions.set(3, 40);
  Tensor qkv = Tensor::random(DType::kF32, c.tokens * c.width(), 1);
  CHECK_THROWS_WITH_AS(cpu.run(c.args(qkv, false)), "rope: positions[3] is 40, the table has 40 rows", Error);
}

struct Shape {
  std::int64_t rows, intermediate;
};
const std::vector<Shape> kShapes = {{1, 8}, {5, 2051}, {257, 33}};

double logistic(double x) { return 1.0 / (1.0 + std::exp(-x)); }

TEST_CASE("swiglu_forward matches a double reference") {
  Cpu cpu(2);
  for (const DType dtype : test::kStorageTypes) {
    for (const auto [rows, size] : kShapes) {
      const Tensor gate_up = Tensor::random(dtype, rows * 2 * size, 1, 4.0);
      Tensor output(dtype, rows * size);
      cpu.run(SwiGluForward{rows, size, gate_up, output});
      Expected expected(rows * size);
      for (std::int64_t t = 0; t < rows; ++t) {
        for (std::int64_t i = 0; i < size; ++i) {
          const double gate = gate_up[t * 2 * size + i];
          const double value = gate * logistic(gate) * gate_up[t * 2 * size + size + i];
          expected.set(t * size + i, value,
                       8.0 * test::kU32 * std::fabs(value));  // exp 2u, sum, quotient, two products
        }
      }
      test::check_within("swiglu", output, expected);
    }
  }
}

TEST_CASE("swiglu_backward matches a double reference, in place too") {
  Cpu cpu(2);
  for (const DType dtype : test::kStorageTypes) {
    for (const auto [rows, size] : kShapes) {
      Tensor gate_up = Tensor::random(dtype, rows * 2 * size, 1, 4.0);
      const Tensor grad_output = Tensor::random(dtype, rows * size, 2);
      Tensor grad(dtype, rows * 2 * size);
      cpu.run(SwiGluBackward{rows, size, grad_output, gate_up, grad});
      Expected expected(rows * 2 * size);
      for (std::int64_t t = 0; t < rows; ++t) {
        for (std::int64_t i = 0; i < size; ++i) {
          const std::int64_t at = t * 2 * size + i;
          const double gate = gate_up[at];
          const double s = logistic(gate);
          const double g = grad_output[t * size + i];
          const double slope_magnitude = s + std::fabs(gate) * s * (1.0 - s) + std::fabs(gate) * s * 8.0 * test::kU32;
          const double outer = std::fabs(g * gate_up[at + size]);
          // 1 - s loses the bits that s lacks: its absolute error is that of s.
          expected.set(at, g * gate_up[at + size] * (s + gate * s * (1.0 - s)),
                       test::kU32 * outer * (16.0 * slope_magnitude + 8.0 * std::fabs(gate) * s));
          expected.set(at + size, g * gate * s, 8.0 * test::kU32 * std::fabs(g * gate * s));
        }
      }
      test::check_within("swiglu gradient", grad, expected);
      cpu.run(SwiGluBackward{rows, size, grad_output, gate_up, gate_up});
      CHECK(gate_up == grad);
    }
  }
}

TEST_CASE("swiglu is finite at large gates of both signs") {
  Cpu cpu;
  const Tensor gate_up = Tensor::of(DType::kF32, {-1000, 1000, -200, 90, 1, 1, 1, 1});
  Tensor output(DType::kF32, 4);
  cpu.run(SwiGluForward{1, 4, gate_up, output});
  CHECK(output[0] == 0.0);
  CHECK(output[1] == 1000.0);
  CHECK(output[2] == 0.0);
  CHECK(output[3] == 90.0);
}

}  // namespace
}  // namespace llama_zero
