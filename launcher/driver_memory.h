// The GPU's memory as its driver counts it, beside the plan.
#pragma once

#include <cstddef>

#include "launcher/runtime.h"
#include "zero/engine.h"

namespace llama_zero {

/// What CUDA's libraries take on top of the plan once a step has run: the machine code of the kernels that were used
/// and what cuBLASLt keeps. Measured (docs/performance.md); the context itself is there before the run's memory is
/// taken.
inline constexpr std::size_t kCudaLibraryBytes = std::size_t{8} << 20U;

/// The same for NCCL's channels: 2.28 between two GPUs that NVLink joins (docs/performance.md). Other numbers of GPUs
/// and links were not measured.
inline constexpr std::size_t kNcclBytes = std::size_t{917} << 20U;

/// What this run's libraries take on a GPU on top of its plan.
std::size_t library_bytes(const Runtime& runtime);

/// Logs plan and libraries beside what the driver says this run has taken; rank 0 of a run on a GPU that no other rank
/// shares, while the run's memory is alive. Otherwise nothing.
void print_driver_memory(const MemoryPlan& plan, const Runtime& runtime);

}  // namespace llama_zero
