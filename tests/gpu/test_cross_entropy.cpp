// Cross-entropy in place: the GPU against the CPU, on both of its paths.
#include "tests/gpu/gpu_test.h"

namespace llama_zero::test {
namespace {

struct Logits {
  std::int64_t rows, vocab, shift;
};

std::vector<std::int32_t> targets_of(std::int64_t rows, std::int64_t vocab) {
  std::vector<std::int32_t> targets = random_ints(rows, vocab, 11);
  for (std::int64_t t = 0; t < rows; t += 3) targets[static_cast<std::size_t>(t)] = kIgnoreTarget;
  if (rows > 1) targets[1] = static_cast<std::int32_t>(vocab - 1);
  return targets;
}

GPU_TEST_CASE("cross-entropy agrees with the CPU: losses, gradients, ignored rows, odd vocabularies, long rows") {
  for (const DType dtype : kStorageTypes) {
    // 300 x 32000 in 16 bits takes the streamed path; 509 and the shifted one element by element.
    for (const Logits& shape : {Logits{1, 8, 0}, Logits{2, 509, 0}, Logits{40, 512, 0}, Logits{7, 4096, 1},
                                Logits{sized(300, 20), 32000, 0}, Logits{3, 32000, 0}, Logits{3, 128256, 0}}) {
      for (const bool forward_only : {false, true}) {
        CAPTURE(shape.vocab);
        CAPTURE(forward_only);
        Case c(shape.shift);
        Pair& logits = c.random(dtype, shape.rows * shape.vocab, 4.0);
        Pair& targets = c.ints(targets_of(shape.rows, shape.vocab));
        Pair& losses = c.output(DType::kF32, shape.rows);
        Pair& loss_scale = c.tensor(Tensor::of(DType::kF32, {1024.0}));
        const double seed_factor = 1.0 / 200.0;
        c.run([&](auto side, Ops& ops, Stream& s) {
          ops.cross_entropy({shape.rows, shape.vocab, side(logits), side(targets), side(losses), seed_factor,
                             side(loss_scale), forward_only},
                            s);
        });
        // Powers: the hardware's exponential of a difference below 48 (16-bit storage) errs by 2^-22 for its own two
        // ulp and by the rounding of a product below 70, 2^-18 of ln 2: below 4e-6. The sum of positive powers adds its
        // own.
        const double power = (dtype == DType::kF32 ? 8.0 * kU32 : 4e-6) + sum_bound(shape.vocab, 1.0);
        losses.check_close("losses", 4.0 * kU32, power + 64.0 * kU32);
        const double seed = seed_factor * 1024.0;
        if (forward_only) {
          logits.check_same_bits("logits");
        } else {
          logits.check_close("gradient", 2.0 * power, seed * (2.0 * power));  // the target's element cancels
        }
      }
    }
  }
}

GPU_TEST_CASE("an infinite logit makes the loss not finite on both backends") {
  for (const std::int64_t rows : {2, 300}) {
    Case c;
    Tensor values = Tensor::random(DType::kF16, rows * 32000, 3);
    values.set(32000 + 17, 1e30);  // row 1
    Pair& logits = c.tensor(values);
    Pair& targets = c.ints(std::vector<std::int32_t>(static_cast<std::size_t>(rows), 5));
    Pair& losses = c.output(DType::kF32, rows);
    c.run([&](auto side, Ops& ops, Stream& s) {
      ops.cross_entropy({rows, 32000, side(logits), side(targets), side(losses), 1.0, View{}, false}, s);
    });
    CHECK(!std::isfinite(losses.cpu[1]));
    CHECK(!std::isfinite(losses.gpu[1]));
    CHECK(std::isfinite(losses.gpu[0]));
  }
}

GPU_TEST_CASE("a target or token outside the vocabulary gives NaN instead of reading elsewhere") {
  Gpu& gpu = Gpu::get();
  const auto on_gpu = [](Pair& pair) { return pair.buffer->view(); };
  Case c;
  Pair& logits = c.random(DType::kF32, 4 * 16);
  Pair& ids = c.ints({3, 16, -5, 0});
  Pair& losses = c.output(DType::kF32, 4);
  Pair& table = c.random(DType::kF16, 16 * 8);
  Pair& rows = c.output(DType::kF16, 4 * 8);
  for (Pair* pair : {&logits, &ids, &losses, &table, &rows}) pair->buffer->upload(pair->initial);
  gpu.ops->cross_entropy({4, 16, on_gpu(logits), on_gpu(ids), on_gpu(losses), 1.0, View{}, false}, *gpu.stream);
  gpu.ops->embedding_forward({4, 8, 16, on_gpu(ids), on_gpu(table), on_gpu(rows)}, *gpu.stream);
  gpu.stream->synchronize();
  losses.gpu = losses.initial;
  losses.buffer->download(losses.gpu.view());
  rows.gpu = rows.initial;
  rows.buffer->download(rows.gpu.view());
  for (const std::int64_t t : {0, 1, 2, 3}) {
    const bool outside = t == 1 || t == 2;
    CHECK(std::isnan(losses.gpu[t]) == outside);
    for (std::int64_t i = 0; i < 8; ++i) CHECK(std::isnan(rows.gpu[8 * t + i]) == outside);
  }
}

}  // namespace
}  // namespace llama_zero::test
