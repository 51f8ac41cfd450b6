// Against which memory a plan's bytes count: the CPU backend's device is the host.
#pragma once

#include <cstddef>

#include "core/device.h"
#include "zero/engine.h"

namespace llama_zero {

/// Of the device's memory: arena and workspace, and what lies on the host where that is the device.
inline std::size_t bytes_on_device(const MemoryPlan& plan, DeviceType device) {
  return plan.total_bytes() + (device == DeviceType::kCpu ? plan.host.peak_bytes : 0);
}

/// Of the host's memory: offloaded states, and everything where the device is the host.
inline std::size_t bytes_on_host(const MemoryPlan& plan, DeviceType device) {
  return plan.host.peak_bytes + (device == DeviceType::kCpu ? plan.total_bytes() : 0);
}

}  // namespace llama_zero
