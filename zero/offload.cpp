#include "zero/offload.h"

#include <algorithm>

#include "kernels/host_adam.h"

namespace llama_zero {

bool OffloadPlan::any() const { return std::find(on_host.begin(), on_host.end(), true) != on_host.end(); }

std::vector<bool> offloaded_units(const Layout& layout, double ratio) {
  require(ratio >= 0.0 && ratio <= 1.0, "offload: ratio {}", ratio);
  std::int64_t all = 0;
  for (int unit = 0; unit < layout.unit_count(); ++unit) all += layout[unit].numel;
  const double on_device = (1.0 - ratio) * static_cast<double>(all);
  std::vector<bool> on_host;
  std::int64_t so_far = 0;
  for (int unit = 0; unit < layout.unit_count(); ++unit) {
    so_far += layout[unit].numel;
    on_host.push_back(static_cast<double>(so_far) > on_device);
  }
  return on_host;
}

OffloadPlan plan_offload(const Layout& layout, const OptimizerOffload& options) {
  OffloadPlan plan;
  plan.on_host = offloaded_units(layout, options.enabled ? options.ratio : 0.0);
  plan.memory = options.memory;
  const std::int64_t tile = std::min(options.sub_group_size, kMostTileElements) / kShardAlignment * kShardAlignment;
  plan.tile = std::max(kShardAlignment, tile);
  plan.threads = options.threads;
  return plan;
}

HostTouch touch_by_tiles(const OffloadPlan& plan, DType dtype) {
  return [tile = plan.tile, threads = plan.threads, dtype](View memory) {
    const View values(memory.raw(), memory.numel() / static_cast<std::int64_t>(size_of(dtype)), dtype);
    for (std::int64_t begin = 0; begin < values.numel(); begin += tile) {
      first_touch(values.slice(begin, std::min(tile, values.numel() - begin)), threads);
    }
  };
}

}  // namespace llama_zero
