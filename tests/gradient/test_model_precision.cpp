// Gradients with 16-bit storage against fp32 storage, from the same (16-bit representable) weights.
#include <doctest/doctest.h>

#include <cmath>

#include "tests/support/model_fixture.h"

using namespace llama_zero;
using namespace llama_zero::test;

namespace {

// Every stored tensor is rounded with relative error at most u = eps / 2. On the way from a weight through the forward
// and back there are at most 9 stored tensors a layer forward (2 sums, 2 norms, qkv before and after RoPE, attention,
// gate_up, swiglu) and 2 branch outputs, and 9 backward; head and embedding add 6. Roundings are independent, so their
// worst case, the plain sum, is a bound that a correct backward stays well below and a wrong formula does not.
double bound_of(const LlamaConfig& config, DType dtype) {
  const auto roundings = static_cast<double>(20 * config.num_hidden_layers + 6);
  return roundings * epsilon_of(dtype) / 2.0;
}

void compare_with_fp32(DType dtype, DType gradient_dtype, float loss_scale, bool tied) {
  const LlamaConfig config = small_config(2, tied);
  const Pass pass = make_pass({{9, 14, 5}, 4, 1, 2}, config.vocab_size);
  ModelFixture reference(config, DType::kF32, 3, dtype);
  ModelFixture model(config, dtype, 3, dtype);
  CatchingSink expected(reference.table, DType::kF32);
  CatchingSink actual(model.table, gradient_dtype);
  const double mean = 1.0 / static_cast<double>(pass.loss_tokens);
  const double expected_loss = reference.forward_backward(pass, expected, reference.options(), {mean, {}});
  const double loss = model.forward_backward(pass, actual, model.options(ActivationCheckpointing::kSelective, 8),
                                             {mean, ConstView::of(std::span<const float>(&loss_scale, 1))});
  const double bound = bound_of(config, dtype);
  CHECK(std::abs(loss - expected_loss) < bound * expected_loss);
  double worst = 0.0;
  for (const Param& param : model.table.params()) {
    const std::vector<double> a = actual.values(param.unit);
    const std::vector<double> e = expected.values(param.unit);
    double difference = 0.0;
    double norm = 0.0;
    for (std::int64_t i = 0; i < param.numel(); ++i) {
      const auto index = static_cast<std::size_t>(param.offset + i);
      const double d = a[index] / static_cast<double>(loss_scale) - e[index];
      difference += d * d;
      norm += e[index] * e[index];
    }
    const double error = std::sqrt(difference / norm);
    INFO(param.name << ": relative error " << error << ", bound " << bound);
    CHECK(error < bound);
    worst = std::max(worst, error);
  }
  MESSAGE(name_of(dtype) << ": largest relative error " << worst << ", bound " << bound);
}

}  // namespace

TEST_CASE("fp16 gradients with a loss scale agree with fp32 within the rounding bound") {
  compare_with_fp32(DType::kF16, DType::kF16, 1024.0F, false);
  compare_with_fp32(DType::kF16, DType::kF32, 1024.0F, true);
}

TEST_CASE("bf16 gradients agree with fp32 within the rounding bound") {
  compare_with_fp32(DType::kBF16, DType::kBF16, 1.0F, false);
  compare_with_fp32(DType::kBF16, DType::kF32, 1.0F, true);
}
