#include <doctest/doctest.h>

#include "tests/golden/golden.h"

namespace llama_zero::test {
namespace {

/// The logits that the fixture has: of the last documents' tokens, padding left out.
std::span<const float> kept_logits(const Golden& golden, const Pass& pass, const std::vector<float>& logits) {
  const auto vocab = static_cast<std::size_t>(golden.config.vocab_size);
  const auto kept = golden.json["logits_of_last"].get<std::size_t>();
  const auto end = static_cast<std::size_t>(pass.attended_tokens);
  return std::span(logits).subspan((end - kept) * vocab, kept * vocab);
}

/// Calls check(Hugging Face's name, our gradient, transformers' gradient) for every tensor.
template <typename Check>
void each_gradient(const Golden& golden, const ParamTable& table, const Evaluation& ours, const Check& check) {
  for (const Param& param : table.params()) {
    const std::span<const float> unit = ours.gradients[static_cast<std::size_t>(param.unit)];
    for (const HfSlice& slice : param.hf) {
      const auto begin = static_cast<std::size_t>(param.offset + slice.row_begin * param.columns);
      const auto count = static_cast<std::size_t>(slice.rows * param.columns);
      check(slice.name, unit.subspan(begin, count), golden.result("gradient." + slice.name));
    }
  }
}

// Two implementations that round at different places draw their errors from one distribution. A single tensor's error
// comes from few large draws (of the order of 20: the gradient reaches it through a handful of documents), and the
// ratio of two such norms stays below 2 with probability 0.999 (F distribution with 20 and 20 degrees of freedom). Over
// whole gradients and all fixtures the draws average out, so there the bound is transformers' own spread.
constexpr double kOneTensor = 2.0;

void check_sixteen_bits(const std::string& backend, DType dtype) {
  double ratios = 0.0;
  // One run's spread is one draw of rounding errors. The CPU backend rounds where transformers does; the GPU's
  // attention rounds the probabilities of a tile, not of a row, which is another draw.
  const double logits_bound = backend == "cpu" ? 1.0 : 1.1;
  for (const std::string& name : golden_names()) {
    const Golden golden(name);
    const Pass pass = golden.pass();
    const nlohmann::json& spread = golden.json["spread"][std::string(name_of(dtype))];
    GoldenModel model(golden.config, dtype, backend);
    const Evaluation ours = model.evaluate(pass);
    std::vector<float> our_gradient;
    std::vector<float> their_gradient;
    INFO(backend, " ", name, " ", name_of(dtype));
    each_gradient(golden, model.table(), ours, [&](const std::string& tensor, auto mine, const auto& other) {
      our_gradient.insert(our_gradient.end(), mine.begin(), mine.end());
      their_gradient.insert(their_gradient.end(), other.begin(), other.end());
      INFO(tensor);
      CHECK(distance(mine, other) <= kOneTensor * spread["gradients"][tensor].get<double>());
    });
    const double logits = distance(kept_logits(golden, pass, ours.logits), golden.result("logits"));
    const double gradient = distance(our_gradient, their_gradient);
    INFO("logits differ by ", logits, " (transformers ", spread["logits"].get<double>(), "), the gradient by ",
         gradient, " (", spread["gradient"].get<double>(), ")");
    CHECK(logits <= logits_bound * spread["logits"].get<double>());
    ratios += gradient / spread["gradient"].get<double>();
  }
  const double mean = ratios / static_cast<double>(golden_names().size());
  INFO(backend, " ", name_of(dtype), ": ratio of our gradients' spread to transformers' ", mean);
  CHECK(mean <= 1.0);
}

}  // namespace

TEST_CASE("fp32 logits, loss and every gradient are those of transformers") {
  CHECK(golden_names().size() >= 7);
  for (const std::string& backend : backend_names()) {
    for (const std::string& name : golden_names()) {
      const Golden golden(name);
      const Pass pass = golden.pass();
      GoldenModel model(golden.config, DType::kF32, backend);
      const Evaluation ours = model.evaluate(pass);
      const auto logits = kept_logits(golden, pass, ours.logits);
      const std::vector<float> theirs = golden.result("logits");
      const double loss = golden.json["loss_sum"];
      INFO(backend, " ", name, ": logits differ by ", distance(logits, theirs), " and at most ", worst(logits, theirs),
           ", the loss by ", ours.loss / loss - 1.0);
      CHECK(distance(logits, theirs) < 1e-5);
      CHECK(worst(logits, theirs) < 1e-5);
      CHECK(ours.loss == doctest::Approx(loss).epsilon(1e-6));
      each_gradient(golden, model.table(), ours, [&](const std::string& tensor, auto mine, const auto& other) {
        INFO(tensor, " differs by ", distance(mine, other));
        CHECK(distance(mine, other) < 1e-4);
      });
    }
  }
}

TEST_CASE("fp16 and bf16 stay as near to fp32 as transformers itself does") {
  for (const std::string& backend : backend_names()) {
    for (const DType dtype : {DType::kF16, DType::kBF16}) check_sixteen_bits(backend, dtype);
  }
}

TEST_CASE("greedy continuations are those of transformers") {
  for (const std::string& backend : backend_names()) {
    for (const std::string& name : golden_names()) {
      const Golden golden(name);
      std::vector<TokenIds> prompts;
      std::vector<TokenIds> expected;
      for (const nlohmann::json& item : golden.json["greedy"]) {
        if (item["prompt"].size() > 64) continue;  // the long document is there for its logits
        prompts.push_back(item["prompt"]);
        expected.push_back(item["tokens"]);
      }
      if (prompts.empty()) continue;
      GoldenModel model(golden.config, DType::kF32, backend);
      INFO(backend, " ", name);
      CHECK(model.greedy(prompts, static_cast<std::int64_t>(expected.front().size())) == expected);
    }
  }
}

}  // namespace llama_zero::test
