#include "model/rope_table.h"

#include <cmath>
#include <memory>
#include <span>
#include <vector>

namespace llama_zero {
namespace {

template <typename T>
std::vector<T> rope_values(const LlamaConfig& config, std::int64_t max_positions) {
  std::vector<T> values;
  values.reserve(static_cast<std::size_t>(max_positions * config.head_dim));
  for (std::int64_t position = 0; position < max_positions; ++position) {
    for (std::int64_t i = 0; i < config.head_dim / 2; ++i) {
      const double exponent = -2.0 * static_cast<double>(i) / static_cast<double>(config.head_dim);
      const double angle = static_cast<double>(position) * std::pow(config.rope_theta, exponent);
      values.push_back(static_cast<T>(std::cos(angle)));
      values.push_back(static_cast<T>(std::sin(angle)));
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
