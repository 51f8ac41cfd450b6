#include "zero/non_finite.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace llama_zero {
namespace {

constexpr std::int64_t kChunk = std::int64_t{1} << 20;

template <typename T>
std::int64_t find_in(const T* values, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    if (!std::isfinite(static_cast<float>(values[i]))) return i;
  }
  return count;
}

std::int64_t find_in(ConstView values) {
  switch (values.dtype()) {
    case DType::kF32:
      return find_in(values.as<float>(), values.numel());
    case DType::kF16:
      return find_in(values.as<Half>(), values.numel());
    case DType::kBF16:
      return find_in(values.as<BFloat16>(), values.numel());
    default:
      fail("gradients of {} cannot be searched", name_of(values.dtype()));
  }
}

/// First element of `values` that is not finite, or -1.
std::int64_t find_on_device(Device& device, ConstView values, Stream& stream) {
  std::vector<std::byte> host(static_cast<std::size_t>(std::min(values.numel(), kChunk)) * size_of(values.dtype()));
  for (std::int64_t begin = 0; begin < values.numel(); begin += kChunk) {
    const std::int64_t count = std::min(kChunk, values.numel() - begin);
    const View chunk(host.data(), count, values.dtype());
    device.copy(values.slice(begin, count), chunk, stream);
    stream.synchronize();
    const std::int64_t found = find_in(chunk);
    if (found < count) return begin + found;
  }
  return -1;
}

int param_at(const ParamTable& table, int unit, std::int64_t element) {
  int found = -1;
  for (const int param : table.units()[static_cast<std::size_t>(unit)].params) {
    if (table.params()[static_cast<std::size_t>(param)].offset <= element) found = param;
  }
  return found;
}

}  // namespace

std::string first_non_finite(const RankContext& context, const ParamTable& table, GradientStore& gradients,
                             ScalarExchange& exchange, Stream& stream) {
  const auto none = static_cast<double>(table.params().size());
  double own = none;
  for (int unit = 0; unit < context.layout.unit_count() && own == none; ++unit) {
    const std::int64_t found = find_on_device(context.device, gradients.own_shard(unit), stream);
    if (found >= 0) own = param_at(table, unit, context.layout.own_begin(unit) + found);
  }
  exchange.set(own, stream);
  const std::span<const double> candidates = exchange.gather(stream);
  const double first = *std::min_element(candidates.begin(), candidates.end());
  return first == none ? std::string() : table.params()[static_cast<std::size_t>(first)].name;
}

std::string stop_message(const StepState& state, const LossScalerConfig& scaler, const std::string& tensor) {
  const std::string where = tensor.empty() ? std::string() : fmt::format(" (first in {})", tensor);
  if (state.scale_exhausted != 0) {
    return fmt::format(
        "step {}: the loss scale is already at its minimum of {:g} and the gradients still overflow{}; {} steps were "
        "skipped. Use bf16, lower the learning rate, or check the data of this step",
        state.iteration, static_cast<double>(scaler.min_loss_scale), where, state.skipped_steps);
  }
  return fmt::format(
      "step {}: {} steps in a row were skipped because their gradients are not finite{}. Lower the learning rate, "
      "check "
      "the data of these steps and the weights that the run started from",
      state.iteration, state.skips_in_a_row, where);
}

}  // namespace llama_zero
