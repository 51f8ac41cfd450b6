// The backend that a plan is made for: its workspace sizes and its memory. Needs no GPU.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "kernels/ops.h"
#include "launcher/config.h"

namespace llama_zero {

struct PlanBackend {
  DeviceType device = DeviceType::kCpu;
  std::unique_ptr<Ops> sizing;
  /// Memory that each of `ranks_on_host` ranks may take of this machine's device; none when it has no such device.
  std::optional<std::size_t> memory_bytes;
  std::size_t cuda_bytes = 0;  ///< what CUDA's libraries take beside the arena
  std::string description;     ///< "CUDA; no GPU here: no NVIDIA driver is loaded"
};

/// kAuto: CUDA where this program has it, else the CPU. `attention`: whose workspace counts on a GPU. Throws Error when
/// CUDA is asked of a build without it.
PlanBackend make_plan_backend(DeviceChoice choice, AttentionChoice attention, int ranks_on_host);

}  // namespace llama_zero
