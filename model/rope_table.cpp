#include "model/rope_table.h"

#include <cmath>
#include <memory>
#include <span>
#include <vector>

namespace llama_zero {
namespace {

constexpr float kTwoPi = 6.28318530717958647692F;

/// One frequency of Llama 3's rule: long wavelengths are stretched, short ones kept, those between blended.
float stretch_llama3(const RopeScaling& scaling, float frequency) {
  const auto original = static_cast<float>(scaling.original_max_position_embeddings);
  const auto low = static_cast<float>(scaling.low_freq_factor);
  const auto high = static_cast<float>(scaling.high_freq_factor);
  const auto factor = static_cast<float>(scaling.factor);
  const float wavelength = kTwoPi / frequency;
  if (wavelength < original / high) return frequency;
  if (wavelength > original / low) return frequency / factor;
  const float blend = (original / wavelength - low) / (high - low);
  return (1.0F - blend) * frequency / factor + blend * frequency;
}

float stretch(const RopeScaling& scaling, float frequency) {
  switch (scaling.type) {
    case RopeScaling::Type::kLinear:
      return frequency / static_cast<float>(scaling.factor);
    case RopeScaling::Type::kLlama3:
      return stretch_llama3(scaling, frequency);
    default:
      return frequency;
  }
}

template <typename T>
std::vector<T> rope_values(const LlamaConfig& config, std::int64_t max_positions) {
  const std::vector<float> frequencies = rope_frequencies(config);
  std::vector<T> values;
  values.reserve(static_cast<std::size_t>(max_positions * config.head_dim));
  for (std::int64_t position = 0; position < max_positions; ++position) {
    for (const float frequency : frequencies) {
      const float angle = static_cast<float>(position) * frequency;
      values.push_back(static_cast<T>(std::cos(static_cast<double>(angle))));
      values.push_back(static_cast<T>(std::sin(static_cast<double>(angle))));
    }
  }
  return values;
}

template <typename T>
void copy_values(const LlamaConfig& config, std::int64_t max_positions, Device& device, View table) {
  const std::vector<T> values = rope_values<T>(config, max_positions);
  const std::unique_ptr<Stream> stream = device.create_stream("rope table");
  device.copy(ConstView::of(std::span<const T>(values)), table, *stream);
  stream->synchronize();
}

}  // namespace

std::vector<float> rope_frequencies(const LlamaConfig& config) {
  std::vector<float> frequencies;
  const auto theta = static_cast<double>(static_cast<float>(config.rope_theta));
  for (std::int64_t i = 0; i < config.head_dim / 2; ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(config.head_dim);
    const auto power = static_cast<float>(std::pow(theta, static_cast<double>(exponent)));
    frequencies.push_back(stretch(config.rope_scaling, 1.0F / power));
  }
  return frequencies;
}

View make_rope_table(const LlamaConfig& config, DType dtype, std::int64_t max_positions, Arena& arena) {
  require(max_positions >= 1, "the longest document must have at least one token, not {}", max_positions);
  const View table = arena.allocate("rope table", stat_dtype(dtype), max_positions * config.head_dim);
  if (arena.device().type() == DeviceType::kNull) return table;
  if (table.dtype() == DType::kF64) {
    copy_values<double>(config, max_positions, arena.device(), table);
  } else {
    copy_values<float>(config, max_positions, arena.device(), table);
  }
  return table;
}

}  // namespace llama_zero
