// host_adam: its bits against the CPU backend's op, its rate against the rate of a copy by the same threads.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/dtype.h"

namespace llama_zero::bench {

struct HostAdamBench {
  std::int64_t elements = std::int64_t{64} << 20;  ///< 28 bytes each with 16-bit gradients and weights
  std::vector<DType> dtypes;                       ///< of gradients and weights; fp32: no weights
  int threads = 0;                                 ///< 0: all that the process may use
  int samples = 15;
  bool json = false;
};

/// Prints a line for each path of the machine, kind of store and dtype; returns how many gave wrong bits.
int run_host_adam_bench(const HostAdamBench& options);

}  // namespace llama_zero::bench
