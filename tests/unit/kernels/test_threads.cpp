#include "tests/unit/kernels/support.h"

namespace llama_zero {
namespace {

using test::Cpu;
using test::DocumentSet;
using test::Tensor;

/// Everything that `body` writes with 1 thread it must write, bit for bit, with 2 and 3.
template <typename Body>
void check_same_bits(const Body& body) {
  Cpu one(1);
  const std::vector<Tensor> expected = body(one);
  for (const int threads : {2, 3}) {
    CAPTURE(threads);
    Cpu many(threads);
    CHECK(body(many) == expected);
  }
}

TEST_CASE("linear ops give the same bits at any thread count") {
  const std::int64_t rows = 517, in = 200, out = 300;
  for (const DType dtype : test::kStorageTypes) {
    const Tensor x = Tensor::random(dtype, rows * in, 1);
    const Tensor w = Tensor::random(dtype, out * in, 2);
    const Tensor g = Tensor::random(dtype, rows * out, 3);
    check_same_bits([&](Cpu& cpu) {
      Tensor y(dtype, rows * out);
      Tensor dx(dtype, rows * in);
      Tensor dw(DType::kF32, out * in);
      cpu.run(LinearForward{rows, in, out, x, w, y});
      cpu.run(LinearBackwardInput{rows, in, out, g, w, dx, false});
      cpu.run(LinearBackwardWeight{rows, in, out, g, x, dw, false});
      return std::vector<Tensor>{y, dx, dw};
    });
  }
}

TEST_CASE("attention gives the same bits at any thread count") {
  const DocumentSet set({100, 7, 65, 1, 40}, 30);
  const std::int64_t width = (4 + 2 * 2) * 16;
  for (const DType dtype : test::kStorageTypes) {
    const Tensor qkv = Tensor::random(dtype, set.tokens() * width, 1);
    const Tensor grad = Tensor::random(dtype, set.tokens() * 64, 2);
    check_same_bits([&](Cpu& cpu) {
      Tensor output(dtype, set.tokens() * 64);
      Tensor lse(DType::kF32, 4 * set.tokens());
      Tensor grad_qkv(dtype, qkv.numel());
      cpu.run(AttentionForward{set.tokens(), 4, 2, 16, 0.25, qkv, set.documents(), output, lse});
      cpu.run(AttentionBackward{set.tokens(), 4, 2, 16, 0.25, grad, qkv, output, lse, set.documents(), grad_qkv});
      return std::vector<Tensor>{output, lse, grad_qkv};
    });
  }
}

TEST_CASE("norm, embedding and activation gradients give the same bits at any thread count") {
  const std::int64_t rows = 3000, hidden = 48, vocab = 100;
  for (const DType dtype : test::kStorageTypes) {
    const Tensor x = Tensor::random(dtype, rows * hidden, 1);
    const Tensor g = Tensor::random(dtype, rows * hidden, 2);
    const Tensor w = Tensor::random(dtype, hidden, 3);
    std::vector<std::int32_t> ids;
    for (std::int32_t t = 0; t < rows; ++t) ids.push_back(t * 7 % vocab);
    const Tensor tokens = Tensor::ints(ids);
    check_same_bits([&](Cpu& cpu) {
      Tensor y(dtype, rows * hidden);
      Tensor rstd(DType::kF32, rows);
      Tensor dx(dtype, rows * hidden);
      Tensor dw(DType::kF32, hidden);
      Tensor table(DType::kF32, vocab * hidden);
      Tensor swiglu(dtype, rows * hidden / 2);
      Tensor dswiglu(dtype, rows * hidden);
      cpu.run(RmsNormForward{rows, hidden, 1e-5, x, {}, w, {}, y, rstd});
      cpu.run(RmsNormBackward{rows, hidden, g, x, w, rstd, {}, dx, dw});
      cpu.run(EmbeddingBackward{rows, hidden, vocab, tokens, g, table, false});
      cpu.run(SwiGluForward{rows, hidden / 2, x, swiglu});
      cpu.run(SwiGluBackward{rows, hidden / 2, swiglu, x, dswiglu});
      return std::vector<Tensor>{y, rstd, dx, dw, table, swiglu, dswiglu};
    });
  }
}

TEST_CASE("cross-entropy, reductions and the optimizer give the same bits at any thread count") {
  const std::int64_t rows = 90, vocab = 509, count = rows * vocab;
  for (const DType dtype : test::kStorageTypes) {
    const Tensor source = Tensor::random(dtype, count, 1);
    std::vector<std::int32_t> ids;
    for (std::int32_t t = 0; t < rows; ++t) ids.push_back(t % 3 == 0 ? kIgnoreTarget : t);
    const Tensor targets = Tensor::ints(ids);
    Tensor state(DType::kU8, sizeof(StepState));
    const StepState default_state;
    std::memcpy(state.view().raw(), &default_state, sizeof(StepState));
    check_same_bits([&](Cpu& cpu) {
      Tensor logits = source;
      Tensor losses(DType::kF32, rows);
      Tensor norm(DType::kF64, 2);
      Tensor half(DType::kF32, count / 2);
      Tensor master = source.as(DType::kF32);
      Tensor m = Tensor::of(DType::kF32, std::vector<double>(static_cast<std::size_t>(count), 0.0));
      Tensor v = m;
      cpu.run(CrossEntropy{rows, vocab, logits, targets, losses, 3.0, {}, false});
      cpu.run(SumOfSquares{source, norm, false});
      cpu.run(ReducePieces{2, source, 0.5, half, false});
      cpu.run(AdamW{master, m, v, source, {}, state});
      return std::vector<Tensor>{logits, losses, norm, half, master, m, v};
    });
  }
}

}  // namespace
}  // namespace llama_zero
