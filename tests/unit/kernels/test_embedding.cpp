#include "tests/unit/kernels/support.h"

namespace llama_zero {
namespace {

using test::Cpu;
using test::Expected;
using test::Tensor;

constexpr std::int64_t kVocab = 509;
constexpr std::int64_t kHidden = 37;

std::vector<std::int32_t> some_tokens(std::int64_t count) {
  const CounterRng rng(5, 2);
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(count));
  for (std::size_t t = 0; t < tokens.size(); ++t) {
    tokens[t] = static_cast<std::int32_t>(rng.below(t, t % 3 == 0 ? 4 : kVocab));  // a few ids occur often
  }
  if (!tokens.empty()) tokens.back() = kVocab - 1;
  return tokens;
}

TEST_CASE("embedding_forward copies the rows of the tokens in every dtype") {
  Cpu cpu(2);
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kF64}) {
    for (const std::int64_t count : {1, 777}) {
      const auto ids = some_tokens(count);
      const Tensor tokens = Tensor::ints(ids);
      const Tensor table = Tensor::random(dtype, kVocab * kHidden, 1);
      Tensor output(dtype, count * kHidden);
      cpu.run(EmbeddingForward{count, kHidden, kVocab, tokens, table, output});
      int wrong = 0;
      for (std::int64_t t = 0; t < count; ++t) {
        for (std::int64_t h = 0; h < kHidden; ++h) {
          if (output[t * kHidden + h] != table[ids[static_cast<std::size_t>(t)] * kHidden + h]) ++wrong;
        }
      }
      CHECK(wrong == 0);
    }
  }
}

Expected expected_gradient(const std::vector<std::int32_t>& ids, const Tensor& grad_output, const Tensor* old) {
  Expected expected(kVocab * kHidden);
  std::vector<double> magnitude(expected.value.size());
  std::vector<double> terms(static_cast<std::size_t>(kVocab));
  for (std::size_t i = 0; old != nullptr && i < magnitude.size(); ++i) {
    expected.value[i] = (*old)[static_cast<std::int64_t>(i)];
    magnitude[i] = std::fabs(expected.value[i]);
  }
  for (std::size_t t = 0; t < ids.size(); ++t) {
    terms[static_cast<std::size_t>(ids[t])] += 1.0;
    for (std::int64_t h = 0; h < kHidden; ++h) {
      const auto at = static_cast<std::size_t>(ids[t] * kHidden + h);
      const double g = grad_output[static_cast<std::int64_t>(t) * kHidden + h];
      expected.value[at] += g;
      magnitude[at] += std::fabs(g);
    }
  }
  for (std::size_t i = 0; i < magnitude.size(); ++i) {
    expected.bound[i] = test::kU32 * (terms[i / kHidden] + 1.0) * magnitude[i];
  }
  return expected;
}

TEST_CASE("embedding_backward sums the gradients of equal tokens, overwriting or accumulating, into any dtype") {
  Cpu cpu(2);
  for (const DType dtype : test::kStorageTypes) {
    for (const DType table_dtype : {dtype, DType::kF32}) {
      for (const std::int64_t count : {1, 777}) {
        const auto ids = some_tokens(count);
        const Tensor tokens = Tensor::ints(ids);
        const Tensor grad_output = Tensor::random(dtype, count * kHidden, 2);
        Tensor grad_table(table_dtype, kVocab * kHidden);
        cpu.run(EmbeddingBackward{count, kHidden, kVocab, tokens, grad_output, grad_table, false});
        test::check_within("overwritten", grad_table, expected_gradient(ids, grad_output, nullptr));
        const Tensor old = Tensor::random(table_dtype, kVocab * kHidden, 3);
        grad_table = old;
        cpu.run(EmbeddingBackward{count, kHidden, kVocab, tokens, grad_output, grad_table, true});
        test::check_within("accumulated", grad_table, expected_gradient(ids, grad_output, &old));
      }
    }
  }
}

TEST_CASE("embedding_backward rounds a sum of halves once") {
  // 2048 + 1 is not a half: adding the ones in fp16 would leave 2048, adding them in fp32 gives 2052.
  Cpu cpu;
  const Tensor tokens = Tensor::ints({0, 0, 0, 0, 0});
  const Tensor grad_output = Tensor::of(DType::kF16, {2048, 1, 1, 1, 1});
  Tensor grad_table(DType::kF16, 2);
  cpu.run(EmbeddingBackward{5, 1, 2, tokens, grad_output, grad_table, false});
  CHECK(grad_table[0] == 2052.0);
  CHECK(grad_table[1] == 0.0);
}

TEST_CASE("a token outside the vocabulary throws and names its position") {
  Cpu cpu;
  const Tensor tokens = Tensor::ints({0, 3});
  Tensor table = Tensor::random(DType::kF32, 6, 1);
  Tensor output(DType::kF32, 4);
  CHECK_THROWS_WITH_AS(cpu.run(EmbeddingForward{2, 2, 3, tokens, table, output}),
                       "embedding_forward: tokens[1] is 3, the vocabulary has 3 tokens", Error);
  CHECK_THROWS_AS(cpu.run(EmbeddingBackward{2, 2, 3, tokens, output, table, false}), Error);
}

}  // namespace
}  // namespace llama_zero
