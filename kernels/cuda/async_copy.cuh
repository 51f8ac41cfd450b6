// Copies from global to shared memory that run while the thread goes on (cp.async, sm_80 and later). A thread that
// reads only what it copied itself needs no barrier, only the wait.
#pragma once

#include <cuda_runtime.h>

namespace llama_zero::cuda {

/// Both addresses aligned to 16 bytes. Goes past the L1 cache.
__device__ __forceinline__ void copy_async16(void* shared, const void* global) {
  const auto to = static_cast<unsigned>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(global) : "memory");
}

/// Ends a group of copies (possibly of none).
__device__ __forceinline__ void commit_async() { asm volatile("cp.async.commit_group;" ::: "memory"); }

/// Waits until at most the kPending latest groups of this thread are under way.
template <int kPending>
__device__ __forceinline__ void wait_async() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

}  // namespace llama_zero::cuda
