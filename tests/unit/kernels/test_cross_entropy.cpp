#include "tests/unit/kernels/support.h"

namespace llama_zero {
namespace {

using test::Cpu;
using test::Expected;
using test::Tensor;

struct Reference {
  Expected losses, gradient;
};

/// exp carries u |x - max| of its argument's rounding and 2 u of its own; the sum of V terms at most V u.
Reference reference(const Tensor& logits, const std::vector<std::int32_t>& targets, std::int64_t vocab, double seed) {
  const auto rows = static_cast<std::int64_t>(targets.size());
  Reference r{Expected(rows), Expected(rows * vocab)};
  for (std::int64_t t = 0; t < rows; ++t) {
    const std::int32_t target = targets[static_cast<std::size_t>(t)];
    if (target == kIgnoreTarget) continue;  // zeros, exactly
    double largest = -INFINITY;
    double smallest = INFINITY;
    for (std::int64_t v = 0; v < vocab; ++v) {
      largest = std::max(largest, logits[t * vocab + v]);
      smallest = std::min(smallest, logits[t * vocab + v]);
    }
    double total = 0.0;
    for (std::int64_t v = 0; v < vocab; ++v) total += std::exp(logits[t * vocab + v] - largest);
    const double relative = test::kU32 * (2.0 * (largest - smallest) + static_cast<double>(vocab) + 8.0);
    const double loss = std::log(total) + largest - logits[t * vocab + target];
    r.losses.set(t, loss, relative + 4.0 * test::kU32 * (std::fabs(loss) + largest - smallest));
    for (std::int64_t v = 0; v < vocab; ++v) {
      const double p = seed * std::exp(logits[t * vocab + v] - largest) / total;
      const double hot = v == target ? seed : 0.0;
      r.gradient.set(t * vocab + v, p - hot, std::fabs(p) * relative + test::kU32 * std::fabs(hot));
    }
  }
  return r;
}

TEST_CASE("cross_entropy gives losses and, in place, the gradient; ignored rows become zeros") {
  Cpu cpu(2);
  for (const DType dtype : test::kStorageTypes) {
    for (const std::int64_t vocab : {1, 9, 509, 2048, 3001}) {
      const std::vector<std::int32_t> targets = {0, kIgnoreTarget, static_cast<std::int32_t>(vocab - 1),
                                                 static_cast<std::int32_t>(vocab / 2)};
      const Tensor original = Tensor::random(dtype, 4 * vocab, 1, 5.0);
      Tensor logits = original;
      Tensor losses(DType::kF32, 4);
      const Tensor target_ids = Tensor::ints(targets);
      const Tensor loss_scale = Tensor::of(DType::kF32, {256.0});
      CAPTURE(vocab);
      const Reference r = reference(original, targets, vocab, 256.0 * 0.125);
      cpu.run(CrossEntropy{4, vocab, logits, target_ids, losses, 0.125, loss_scale, false});
      test::check_within("losses", losses, r.losses);
      test::check_within("gradient", logits, r.gradient);
      CHECK(losses[1] == 0.0);
      CHECK(logits[vocab] == 0.0);

      Tensor kept = original;
      Tensor losses_alone(DType::kF32, 4);
      cpu.run(CrossEntropy{4, vocab, kept, target_ids, losses_alone, 1.0, {}, true});
      CHECK(kept == original);
      CHECK(losses_alone == losses);
    }
  }
}

TEST_CASE("cross_entropy without a loss scale uses the seed factor alone") {
  Cpu cpu;
  Tensor logits = Tensor::of(DType::kF32, {0.0, 0.0});
  Tensor losses(DType::kF32, 1);
  const Tensor targets = Tensor::ints({1});
  cpu.run(CrossEntropy{1, 2, logits, targets, losses, 4.0, {}, false});
  CHECK(logits[0] == 2.0);
  CHECK(logits[1] == -2.0);
  CHECK(losses[0] == doctest::Approx(std::log(2.0)).epsilon(1e-7));
}

TEST_CASE("an infinite logit shows as NaN in loss and gradient, so that overflow is seen") {
  Cpu cpu;
  Tensor logits = Tensor::random(DType::kF16, 40, 1);
  logits.set(7, INFINITY);
  Tensor losses(DType::kF32, 1);
  const Tensor targets = Tensor::ints({3});
  cpu.run(CrossEntropy{1, 40, logits, targets, losses, 1.0, {}, false});
  CHECK_FALSE(std::isfinite(losses[0]));
  CHECK(std::isnan(logits[7]));
}

TEST_CASE("a target outside the vocabulary throws") {
  Cpu cpu;
  Tensor logits = Tensor::random(DType::kF32, 6, 1);
  Tensor losses(DType::kF32, 2);
  for (const std::int32_t bad : {3, -1}) {
    const Tensor targets = Tensor::ints({0, bad});
    CHECK_THROWS_AS(cpu.run(CrossEntropy{2, 3, logits, targets, losses, 1.0, {}, false}), Error);
  }
}

TEST_CASE("sum_losses adds in fp64, overwriting or accumulating") {
  Cpu cpu;
  const Tensor values = Tensor::of(DType::kF32, {1e8, 1.0, 0.25, -1e8});
  Tensor total(DType::kF64, 1);
  cpu.run(SumLosses{values, total, false});
  CHECK(total[0] == 1.25);
  cpu.run(SumLosses{values, total, true});
  CHECK(total[0] == 2.5);
}

TEST_CASE("sum_losses adds groups of 256 neighbours first, then the groups") {
  Cpu cpu;
  constexpr double kHuge = 9007199254740992.0;  // 2^53: one more is lost, two together are not
  Tensor values = Tensor::of(DType::kF64, std::vector<double>(2 * kLossGroup, 0.0));
  values.set(0, kHuge);
  values.set(kLossGroup, 1.0);
  values.set(kLossGroup + 1, 1.0);
  Tensor total(DType::kF64, 1);
  cpu.run(SumLosses{values, total, false});
  CHECK(total[0] == kHuge + 2.0);
}

}  // namespace
}  // namespace llama_zero
