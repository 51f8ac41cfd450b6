// A kernel that starts while the one before it ends (CUDA C++ Programming Guide, "Programmatic Dependent Launch").
#pragma once

#include "kernels/cuda/launch.h"

namespace llama_zero::cuda {

/// In the earlier kernel, by every block: what follows may run beside the beginning of the next kernel.
__device__ __forceinline__ void let_next_kernel_start() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  cudaTriggerProgrammaticLaunchCompletion();
#endif
}

/// In the later kernel, before it reads what the earlier one wrote: waits until that one has ended.
__device__ __forceinline__ void wait_for_earlier_kernel() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  cudaGridDependencySynchronize();
#endif
}

/// Launches `kernel` so that, from compute capability 9.0 on, its blocks may start while the stream's kernel before it
/// ends. The kernel calls wait_for_earlier_kernel().
template <typename... Params, typename... Args>
void launch_early(void (*kernel)(Params...), dim3 blocks, dim3 threads, const Launch& launch, Args... args) {
  cudaLaunchAttribute early{};
  early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  early.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = blocks;
  config.blockDim = threads;
  config.stream = launch.stream;
  config.attrs = &early;
  config.numAttrs = launch.compute_capability >= 90 ? 1 : 0;
  check_cuda(cudaLaunchKernelEx(&config, kernel, static_cast<Params>(args)...), "cudaLaunchKernelEx");
}

}  // namespace llama_zero::cuda
