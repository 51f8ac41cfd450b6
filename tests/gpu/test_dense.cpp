// Embedding, RMSNorm, linear, rope, swiglu: the GPU against the CPU.
#include "tests/gpu/gpu_test.h"

namespace llama_zero::test {
namespace {

struct Shape {
  std::int64_t tokens, width;
  std::int64_t shift;
};

GPU_TEST_CASE("embedding lookup copies rows, for one token, odd widths and unaligned tables") {
  for (const DType dtype : kStorageTypes) {
    for (const Shape& shape : {Shape{1, 8, 0}, Shape{37, 100, 0}, Shape{300, 512, 0}, Shape{5, 509, 1}}) {
      Case c(shape.shift);
      constexpr std::int64_t kVocab = 509;
      Pair& tokens = c.ints(random_ints(shape.tokens, kVocab, 5));
      Pair& table = c.random(dtype, kVocab * shape.width);
      Pair& output = c.output(dtype, shape.tokens * shape.width);
      c.run([&](auto side, Ops& ops, Stream& s) {
        ops.embedding_forward({shape.tokens, shape.width, kVocab, side(tokens), side(table), side(output)}, s);
      });
      output.check_same_bits("embedding");
    }
  }
}

/// The contract fixes the order of the sums (t ascending), so bits are equal.
GPU_TEST_CASE("the embedding's gradient has the CPU's bits, with repeated tokens, accumulating and not") {
  for (const DType dtype : kStorageTypes) {
    for (const DType grad_dtype : {dtype, DType::kF32}) {
      for (const Shape& shape :
           {Shape{1, 8, 0}, Shape{sized(3000, 300), 104, 0}, Shape{sized(700, 70), 2056, 0}, Shape{50, 509, 1}}) {
        for (const std::int64_t distinct : {std::int64_t{1}, std::int64_t{509}}) {
          for (const bool accumulate : {false, true}) {
            Case c(shape.shift);
            constexpr std::int64_t kVocab = 509;
            const std::int64_t elements = kVocab * shape.width;
            Pair& tokens = c.ints(random_ints(shape.tokens, distinct, 6));
            Pair& grad = c.random(dtype, shape.tokens * shape.width);
            Pair& table = accumulate ? c.random(grad_dtype, elements) : c.output(grad_dtype, elements);
            c.run([&](auto side, Ops& ops, Stream& s) {
              ops.embedding_backward(
                  {shape.tokens, shape.width, kVocab, side(tokens), side(grad), side(table), accumulate}, s);
            });
            table.check_same_bits("embedding gradient");
          }
        }
      }
    }
  }
}

const std::vector<Shape> kNormShapes = {{1, 8, 0},
                                        {3, 64, 0},
                                        {50, 509, 0},
                                        {33, 768, 0},
                                        {20, 1032, 0},
                                        {sized(300, 40), 2048, 0},
                                        {sized(70, 40), 4096, 0},
                                        {9, 5120, 0},
                                        {40, 1000, 1},
                                        {3, 8200, 0},
                                        {2, 16392, 0}};

GPU_TEST_CASE("rmsnorm forward agrees with the CPU, with and without a residual, and in place") {
  for (const DType dtype : kStorageTypes) {
    for (const Shape& shape : kNormShapes) {
      for (const int mode : {0, 1, 2, 3}) {  // no residual; sum apart; sum over input; sum over residual
        CAPTURE(shape.width);
        CAPTURE(mode);
        Case c(shape.shift);
        const std::int64_t elements = shape.tokens * shape.width;
        Pair& input = c.random(dtype, elements);
        Pair& residual = c.random(dtype, elements);
        Pair& weight = c.random(dtype, shape.width);
        Pair& apart = c.output(dtype, elements);
        Pair& sum = mode == 2 ? input : mode == 3 ? residual : apart;
        Pair& output = c.output(dtype, elements);
        Pair& rstd = c.output(DType::kF32, shape.tokens);
        c.run([&](auto side, Ops& ops, Stream& s) {
          ops.rmsnorm_forward({shape.tokens, shape.width, 1e-5, side(input), mode > 0 ? side(residual) : View{},
                               side(weight), mode > 0 ? side(sum) : View{}, side(output), side(rstd)},
                              s);
        });
        if (mode > 0) sum.check_same_bits("sum");
        // The sum of squares has only positive terms: its relative error is the bound at magnitude 1; two more
        // roundings.
        const double relative = sum_bound(shape.width, 1.0) + 8.0 * kU32;
        rstd.check_close("rstd", relative, 0.0);
        output.check_close("output", relative, 0.0);
      }
    }
  }
}

GPU_TEST_CASE("rmsnorm backward agrees with the CPU, aliases included") {
  for (const DType dtype : kStorageTypes) {
    for (const DType weight_dtype : {dtype, DType::kF32}) {
      for (const Shape& shape : kNormShapes) {
        for (const int mode : {0, 1, 2, 3}) {  // no residual; apart; over the residual; over grad_output
          // Small: each shape in one mode, another one for each pair of dtypes.
          const auto which = static_cast<int>(&shape - kNormShapes.data()) + static_cast<int>(dtype) + mode;
          if (small_sizes() && which % 4 != 0) continue;
          CAPTURE(shape.width);
          CAPTURE(mode);
          Case c(shape.shift);
          const std::int64_t elements = shape.tokens * shape.width;
          Pair& grad = c.random(dtype, elements);
          Pair& input = c.random(dtype, elements);
          Pair& weight = c.random(dtype, shape.width);
          Pair& residual = c.random(dtype, elements);
          Tensor rstds(DType::kF32, shape.tokens);
          for (std::int64_t t = 0; t < shape.tokens; ++t) rstds.set(t, 0.5 + 0.01 * static_cast<double>(t % 50));
          Pair& rstd = c.tensor(rstds);
          Pair& apart = c.output(dtype, elements);
          Pair& grad_input = mode == 2 ? residual : mode == 3 ? grad : apart;
          const bool accumulate = mode % 2 == 0;
          Pair& grad_weight = accumulate ? c.random(weight_dtype, shape.width) : c.output(weight_dtype, shape.width);
          c.run([&](auto side, Ops& ops, Stream& s) {
            ops.rmsnorm_backward({shape.tokens, shape.width, side(grad), side(input), side(weight), side(rstd),
                                  mode > 0 ? side(residual) : View{}, side(grad_input), side(grad_weight), accumulate},
                                 s);
          });
          // Normal factors below 5.5 in these sizes: |w g| < 31, |x| < 5.5, rstd < 1; mean |w g x| is about 0.51.
          const double projection = sum_bound(shape.width, 0.6);
          grad_input.check_close("grad_input", 0.0, 5.5 * projection + 16.0 * kU32 * 31.0);
          const double column = 2.0 * static_cast<double>(shape.tokens) + 6.0;  // sum |g x rstd| + old, in a column
          grad_weight.check_close("grad_weight", 4.0 * kU32, sum_bound(shape.tokens, column));
        }
      }
    }
  }
}

struct LinearShape {
  std::int64_t rows, in, out, shift;
};
const std::vector<LinearShape> kLinearShapes = {{1, 8, 8, 0},       {1, 64, 192, 0},    {37, 96, 509, 0},
                                                {256, 512, 384, 0}, {130, 1000, 72, 0}, {64, 64, 64, 4}};

/// Mean of |a b| for standard normals is 2 / pi.
double product_bound(std::int64_t terms) { return sum_bound(terms, 0.64 * static_cast<double>(terms) + 8.0); }

GPU_TEST_CASE("linear forward agrees with the CPU") {
  for (const DType dtype : kStorageTypes) {
    for (const LinearShape& shape : kLinearShapes) {
      CAPTURE(shape.out);
      Case c(shape.shift);
      Pair& input = c.random(dtype, shape.rows * shape.in);
      Pair& weight = c.random(dtype, shape.out * shape.in);
      Pair& output = c.output(dtype, shape.rows * shape.out);
      c.run([&](auto side, Ops& ops, Stream& s) {
        ops.linear_forward({shape.rows, shape.in, shape.out, side(input), side(weight), side(output)}, s);
      });
      output.check_close("output", 0.0, product_bound(shape.in));
    }
  }
}

GPU_TEST_CASE("linear backward agrees with the CPU, accumulating and not, into 16 bits and fp32") {
  for (const DType dtype : kStorageTypes) {
    for (const LinearShape& shape : kLinearShapes) {
      for (const bool accumulate : {false, true}) {
        CAPTURE(shape.out);
        CAPTURE(accumulate);
        Case c(shape.shift);
        Pair& grad = c.random(dtype, shape.rows * shape.out);
        Pair& weight = c.random(dtype, shape.out * shape.in);
        Pair& input = c.random(dtype, shape.rows * shape.in);
        const auto result = [&](DType d, std::int64_t n) -> Pair& {
          return accumulate ? c.random(d, n) : c.output(d, n);
        };
        Pair& grad_input = result(dtype, shape.rows * shape.in);
        Pair& grad_weight = result(dtype, shape.out * shape.in);
        Pair& grad_weight32 = result(DType::kF32, shape.out * shape.in);
        c.run([&](auto side, Ops& ops, Stream& s) {
          ops.linear_backward_input(
              {shape.rows, shape.in, shape.out, side(grad), side(weight), side(grad_input), accumulate}, s);
          for (Pair* target : {&grad_weight, &grad_weight32}) {
            ops.linear_backward_weight(
                {shape.rows, shape.in, shape.out, side(grad), side(input), side(*target), accumulate}, s);
          }
        });
        // Some of cuBLASLt's kernels round a 16-bit product before they add the old content (cuda_ops.h).
        const double rounded = accumulate && dtype != DType::kF32 ? unit_roundoff(dtype) : 0.0;
        const auto largest = [](std::int64_t terms) { return 6.0 * std::sqrt(static_cast<double>(terms)); };
        grad_input.check_close("grad_input", 0.0, product_bound(shape.out) + rounded * largest(shape.out));
        grad_weight.check_close("grad_weight", 0.0, product_bound(shape.rows) + rounded * largest(shape.rows));
        grad_weight32.check_close("grad_weight in fp32", 0.0, product_bound(shape.rows));
      }
    }
  }
}

GPU_TEST_CASE("a weight gradient over no rows is zero, or what it was") {
  for (const bool accumulate : {false, true}) {
    Case c;
    Pair& grad = c.output(DType::kF16, 0);
    Pair& input = c.output(DType::kF16, 0);
    Pair& grad_weight = accumulate ? c.random(DType::kF16, 8 * 16) : c.output(DType::kF16, 8 * 16);
    c.run([&](auto side, Ops& ops, Stream& s) {
      ops.linear_backward_weight({0, 8, 16, side(grad), side(input), side(grad_weight), accumulate}, s);
    });
    grad_weight.check_same_bits("grad_weight");
  }
}

GPU_TEST_CASE("products with the recorded algorithms give the same bits; a broken record is refused") {
  Gpu& gpu = Gpu::get();
  Case c;
  Pair& input = c.random(DType::kF16, 77 * 136);
  Pair& weight = c.random(DType::kF16, 264 * 136);
  Pair& output = c.output(DType::kF16, 77 * 264);
  const auto product = [&](auto side, Ops& ops, Stream& s) {
    ops.linear_forward({77, 136, 264, side(input), side(weight), side(output)}, s);
  };
  c.run(product);
  const Tensor heuristic = output.gpu;
  CudaGemmAlgorithms recorded = gemm_algorithms(*gpu.ops);
  REQUIRE(!recorded.empty());
  const auto repeated = make_cuda_ops(*gpu.device, {.attention = CudaAttention::kAuto, .gemm_algorithms = recorded});
  repeated->set_workspace(gpu.workspace);
  c.run(product, repeated.get());
  CHECK(output.gpu == heuristic);

  for (auto& [key, words] : recorded) words.fill(0xffffffffffffffffULL);
  const auto broken = make_cuda_ops(*gpu.device, {.attention = CudaAttention::kAuto, .gemm_algorithms = recorded});
  broken->set_workspace(gpu.workspace);
  CHECK_THROWS_AS(c.run(product, broken.get()), Error);
}

struct HeadShape {
  std::int64_t query_heads, kv_heads, head_dim;
};

GPU_TEST_CASE("rope and its inverse agree with the CPU") {
  for (const DType dtype : kStorageTypes) {
    for (const HeadShape& heads : {HeadShape{1, 1, 8}, HeadShape{4, 2, 24}, HeadShape{3, 3, 64}, HeadShape{8, 2, 128},
                                   HeadShape{2, 1, 256}, HeadShape{5, 5, 80}}) {
      for (const std::int64_t tokens : {1, 67}) {
        for (const bool inverse : {false, true}) {
          Case c(heads.head_dim == 80 ? 1 : 0);
          constexpr std::int64_t kPositions = 100;
          Pair& qkv = c.random(dtype, tokens * (heads.query_heads + 2 * heads.kv_heads) * heads.head_dim);
          Pair& positions = c.ints(random_ints(tokens, kPositions, 9));
          Tensor table(DType::kF32, kPositions * heads.head_dim);
          for (std::int64_t i = 0; i < table.numel() / 2; ++i) {
            table.set(2 * i, std::cos(0.1 * static_cast<double>(i)));
            table.set(2 * i + 1, std::sin(0.1 * static_cast<double>(i)));
          }
          Pair& cos_sin = c.tensor(table);
          c.run([&](auto side, Ops& ops, Stream& s) {
            ops.rope({tokens, heads.query_heads, heads.kv_heads, heads.head_dim, kPositions, side(qkv), side(positions),
                      side(cos_sin), inverse},
                     s);
          });
          qkv.check_close("qkv", 0.0, 4.0 * kU32 * 8.0);  // two products and a sum of numbers below 5.5
        }
      }
    }
  }
}

GPU_TEST_CASE("swiglu forward and backward agree with the CPU, in place too") {
  for (const DType dtype : kStorageTypes) {
    for (const Shape& shape :
         {Shape{1, 8, 0}, Shape{33, 344, 0}, Shape{7, 509, 0}, Shape{5, 1376, 1}, Shape{2, 11008, 0}}) {
      Case c(shape.shift);
      const std::int64_t elements = shape.tokens * shape.width;
      Pair& gate_up = c.random(dtype, 2 * elements, 3.0);
      Pair& grad = c.random(dtype, elements);
      Pair& output = c.output(dtype, elements);
      Pair& grad_gate_up = c.output(dtype, 2 * elements);
      c.run([&](auto side, Ops& ops, Stream& s) {
        ops.swiglu_forward({shape.tokens, shape.width, side(gate_up), side(output)}, s);
        ops.swiglu_backward({shape.tokens, shape.width, side(grad), side(gate_up), side(grad_gate_up)}, s);
        ops.swiglu_backward({shape.tokens, shape.width, side(grad), side(gate_up), side(gate_up)}, s);
      });
      // Two exponentials within 2 ulp and about six roundings on each side. The gradient of the gate cancels where
      // s + silu (1 - s) is near 0: terms below 1.1 times |grad up| < 80.
      output.check_close("output", 32.0 * kU32, 0.0);
      grad_gate_up.check_close("grad_gate_up", 32.0 * kU32, 16.0 * kU32 * 90.0);
      CHECK(gate_up.gpu == grad_gate_up.gpu);
    }
  }
}

}  // namespace
}  // namespace llama_zero::test
