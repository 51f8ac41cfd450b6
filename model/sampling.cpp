#include "model/sampling.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "core/error.h"
#include "core/rng.h"

namespace llama_zero {
namespace {

std::size_t likeliest(std::span<const float> logits) {
  std::size_t best = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    require(!std::isnan(logits[i]), "generation: logit {} is not a number; the model's weights are damaged", i);
    if (logits[i] > logits[best]) best = i;
  }
  require(std::isfinite(logits[best]), "generation: logit {} is not finite; the model's weights are damaged", best);
  return best;
}

}  // namespace

void SamplingOptions::validate() const {
  require(std::isfinite(temperature) && temperature >= 0.0, "temperature = {} must be 0 or more", temperature);
  require(top_p > 0.0 && top_p <= 1.0, "top_p = {} must be above 0 and at most 1", top_p);
}

std::int32_t choose_token(std::span<const float> logits, const SamplingOptions& options, std::uint64_t sequence,
                          std::uint64_t step) {
  require(!logits.empty(), "generation: there are no logits");
  const std::size_t best = likeliest(logits);
  if (options.temperature == 0.0) return static_cast<std::int32_t>(best);

  const auto largest = static_cast<double>(logits[best]);
  std::vector<double> weights(logits.size());
  for (std::size_t i = 0; i < logits.size(); ++i) {
    weights[i] = std::exp((static_cast<double>(logits[i]) - largest) / options.temperature);
  }
  std::vector<std::int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const auto weight_of = [&](std::int32_t id) { return weights[static_cast<std::size_t>(id)]; };
  std::ranges::stable_sort(order, [&](std::int32_t a, std::int32_t b) { return weight_of(a) > weight_of(b); });

  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  std::size_t kept = 0;
  double mass = 0.0;
  while (kept < order.size() && (kept == 0 || mass < options.top_p * total)) mass += weight_of(order[kept++]);

  double left = CounterRng(options.seed, sequence).uniform(step) * mass;
  for (std::size_t i = 0; i + 1 < kept; ++i) {
    left -= weight_of(order[i]);
    if (left < 0.0) return order[i];
  }
  return order[kept - 1];
}

}  // namespace llama_zero
