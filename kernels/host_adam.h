// AdamW on the host's memory, for optimizer states that are offloaded there: all cores, SIMD chosen at run time.
//
// Source: kernels/adam_update.h, the same function element by element as Ops::adamw of every backend, so the results
// are bit-identical to theirs and to one another's, whatever the path and the number of threads. (Only which of several
// NaNs that meet in one operation goes on is open.)
#pragma once

#include <string_view>

#include "kernels/ops.h"

namespace llama_zero {

/// Which instructions do the work. All are IEEE operations.
enum class HostAdamPath { kPortable, kAvx2, kAvx512 };

/// "portable", "avx2", "avx512".
std::string_view name_of(HostAdamPath path);

/// Whether this program contains the path and this processor, with its operating system, runs it.
bool is_available(HostAdamPath path);

/// The widest one that is available.
HostAdamPath best_host_adam_path();

struct HostAdamOptions {
  int threads = 0;  ///< of the team; 0: one for each core that the process may use
  HostAdamPath path = best_host_adam_path();
  /// Weights go to memory past the caches, which saves reading what is overwritten: right for ranges that are larger
  /// than the caches. Takes effect where the weights are aligned to 64 bytes.
  bool streaming_stores = true;
};

/// One update of a flat range, in one pass over it, before the call returns. `args` as for Ops::adamw, all of it,
/// `state` included, in host memory: master, exp_avg and exp_avg_sq fp32 [n]; gradient fp32, fp16 or bf16 [n]; weights
/// fp32, fp16 or bf16 [n], or absent. Beyond the op's contract, weights may be the gradient's own memory when both have
/// one dtype. A thread's share of the range is contiguous and depends on n and `threads` alone, so that memory which
/// was first touched in such shares (first_touch below) is on the thread's own NUMA node. Arrays whose distance is a
/// multiple of a large power of two meet in the same memory banks and cache sets, which can cost half the speed: see
/// kHostArrayStagger. Throws Error for wrong dtypes, sizes that differ, and a path that is not available.
void host_adam(const AdamW& args, const HostAdamOptions& options = {});

/// Bytes to add from one array of a host arena to the next, so that equal elements of neighbouring arrays lie in
/// different memory banks; a multiple of 256.
inline constexpr std::size_t kHostArrayStagger = 37 * 4096 + 256;

/// Sets `memory` to zeros with the shares that host_adam gives to the threads for a range of its elements.
void first_touch(View memory, int threads = 0);

}  // namespace llama_zero
