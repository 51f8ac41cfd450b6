// The whole model's backward against central differences of its forward, in double.
#include <doctest/doctest.h>

#include <array>
#include <cmath>

#include "tests/support/model_fixture.h"

using namespace llama_zero;
using namespace llama_zero::test;

namespace {

// Five-point stencil: truncation h^4 f^(5) / 30, rounding about 1e-15 |f| / h. With h = 1e-3 and |f| about 100 both
// stay below 1e-10, while gradients of these models are about 1.
constexpr double kStep = 1e-3;
constexpr double kTolerance = 1e-6;
constexpr int kSamplesPerTensor = 5;

double central_difference(ModelFixture& model, const Pass& pass, double& weight) {
  const double original = weight;
  const auto loss_at = [&](double offset) {
    weight = original + offset * kStep;
    return model.forward_loss(pass);
  };
  const double slope = (8.0 * (loss_at(1) - loss_at(-1)) - (loss_at(2) - loss_at(-2))) / (12.0 * kStep);
  weight = original;
  return slope;
}

/// Elements of a parameter to test: of the embedding, in rows of tokens that occur.
std::vector<std::int64_t> sample_elements(const Param& param, const Pass& pass) {
  const CounterRng rng(17, stream_id(param.name.c_str()));
  std::vector<std::int64_t> elements;
  for (std::uint64_t i = 0; i < kSamplesPerTensor; ++i) {
    auto row = static_cast<std::int64_t>(rng.below(2 * i, static_cast<std::uint64_t>(param.rows)));
    if (param.name == "embedding.embed_tokens") {
      row = pass.tokens[rng.below(2 * i, static_cast<std::uint64_t>(pass.attended_tokens))];
    }
    const auto column = static_cast<std::int64_t>(rng.below(2 * i + 1, static_cast<std::uint64_t>(param.columns)));
    elements.push_back(row * param.columns + column);
  }
  return elements;
}

void check_against_differences(const LlamaConfig& config, const Pass& pass, ActivationCheckpointing mode,
                               std::int64_t chunk) {
  ModelFixture model(config, DType::kF64);
  CatchingSink sink(model.table, DType::kF64);
  model.forward_backward(pass, sink, model.options(mode, chunk));
  double worst = 0.0;
  for (const Param& param : model.table.params()) {
    const std::vector<double> gradient = sink.values(param.unit);
    const std::span<double> weights = model.params.unit(param.unit).span<double>();
    double difference_squared = 0.0;
    double norm_squared = 0.0;
    for (const std::int64_t element : sample_elements(param, pass)) {
      const auto index = static_cast<std::size_t>(param.offset + element);
      const double numeric = central_difference(model, pass, weights[index]);
      difference_squared += (numeric - gradient[index]) * (numeric - gradient[index]);
      norm_squared += numeric * numeric;
    }
    const double error = std::sqrt(difference_squared / norm_squared);
    INFO(param.name << ": relative error " << error << ", gradient norm " << std::sqrt(norm_squared));
    CHECK(norm_squared > 1e-12);  // a vanished gradient would prove nothing
    CHECK(error < kTolerance);
    worst = std::max(worst, error);
  }
  MESSAGE("largest relative error " << worst);
}

const PassShape kThreeDocuments{{7, 1, 9}, 3, 1, 5};

}  // namespace

TEST_CASE("multi-head model, untied head: gradients equal central differences") {
  const LlamaConfig config = small_config(4, false);
  check_against_differences(config, make_pass(kThreeDocuments, config.vocab_size), ActivationCheckpointing::kSelective,
                            2048);
}

TEST_CASE("grouped-query model, tied head, logits in chunks: gradients equal central differences") {
  const LlamaConfig config = small_config(2, true);
  check_against_differences(config, make_pass(kThreeDocuments, config.vocab_size), ActivationCheckpointing::kFull, 6);
}

TEST_CASE(
    "multi-query model with head size unequal to hidden / heads, one document: gradients equal central differences") {
  LlamaConfig config = small_config(1, false);
  config.num_attention_heads = 3;
  config.head_dim = 16;
  config.num_hidden_layers = 1;
  check_against_differences(config, make_pass({{11}, 0, 0, 9}, config.vocab_size), ActivationCheckpointing::kNone, 4);
}

TEST_CASE("tied multi-head model: gradients equal central differences") {
  const LlamaConfig config = small_config(4, true);
  check_against_differences(config, make_pass({{6, 8}, 0, 2, 3}, config.vocab_size), ActivationCheckpointing::kNone,
                            2048);
}

TEST_CASE("embedding rows of tokens that do not occur have zero gradient") {
  const LlamaConfig config = small_config(4, false);
  const Pass pass = make_pass(kThreeDocuments, config.vocab_size);
  ModelFixture model(config, DType::kF64);
  CatchingSink sink(model.table, DType::kF64);
  model.forward_backward(pass, sink, model.options());
  const std::vector<double> gradient = sink.values(model.table.embedding_unit());
  for (std::int64_t token = 0; token < config.vocab_size; ++token) {
    const bool occurs = std::find(pass.tokens.begin(), pass.tokens.begin() + pass.attended_tokens, token) !=
                        pass.tokens.begin() + pass.attended_tokens;
    double norm = 0.0;
    for (std::int64_t i = 0; i < config.hidden_size; ++i) {
      norm += std::abs(gradient[static_cast<std::size_t>(token * config.hidden_size + i)]);
    }
    if (!occurs) CHECK(norm == 0.0);
  }
}
