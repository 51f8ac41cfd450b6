// Which of a rank's optimizer states lie in host memory, and how they are worked on there.
#pragma once

#include <cstdint>
#include <vector>

#include "core/device.h"
#include "zero/layout.h"

namespace llama_zero {

/// DeepSpeed's offload_optimizer.
struct OptimizerOffload {
  bool enabled = false;
  HostMemory memory = HostMemory::kPinned;  ///< pin_memory
  double ratio = 1.0;                       ///< of the elements that are offloaded, by whole units (offloaded_units)
  /// Elements that the host updates at a time, while the weights before them go up; at most kMostTileElements are.
  std::int64_t sub_group_size = 1000000000;
  int threads = 0;  ///< of the host's update; 0: one for each core that the process may use
};

/// Four times as many were no faster on 7B (docs/performance.md).
inline constexpr std::int64_t kMostTileElements = std::int64_t{1} << 23U;

/// The same for one rank.
struct OffloadPlan {
  std::vector<bool> on_host;  ///< by unit
  HostMemory memory = HostMemory::kPinned;
  std::int64_t tile = kMostTileElements;  ///< a multiple of kShardAlignment
  int threads = 0;

  bool any() const;
};

/// The first units, up to 1 - ratio of all elements, stay on the device; the others' states go to the host.
std::vector<bool> offloaded_units(const Layout& layout, double ratio);
OffloadPlan plan_offload(const Layout& layout, const OptimizerOffload& options);

/// First touch of host memory for `plan`: tile by tile, in the shares of the threads that update it.
HostTouch touch_by_tiles(const OffloadPlan& plan, DType dtype);

}  // namespace llama_zero
