// What the report command and the planner want to know of the GPUs, their driver and NVIDIA's libraries. Never throws
// for what is missing: it says what and why. No CUDA header is needed to use it.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace llama_zero {

struct GpuFacts {
  int ordinal = 0;  ///< as CUDA_VISIBLE_DEVICES numbers them
  std::string name;
  std::string pci_bus;         ///< "0000:1b:00.0"
  int compute_capability = 0;  ///< 80, 90, ...
  int multiprocessors = 0;
  std::size_t memory_bytes = 0;  ///< total
  std::size_t free_bytes = 0;    ///< 0: not asked, since that would create a context of some hundred MB
  bool ecc = false;
  int nvlinks = -1;  ///< active NVLink connections; -1: not known (no NVML)
};

/// How one GPU reaches another's memory.
enum class PeerPath { kSelf, kNone, kPcie, kNvlink };

struct GpuReport {
  std::vector<GpuFacts> gpus;
  std::vector<std::vector<PeerPath>> peers;  ///< [from][to]
  std::string why_none;                      ///< when there is no GPU: "no NVIDIA driver is loaded"
  std::string driver;                        ///< "580.159.04"; "" when there is none
  int driver_cuda = 0;                       ///< newest CUDA of the driver, 13000 for 13.0; 0 when there is none
};

/// Creates no CUDA context.
GpuReport query_gpus();

/// A library of NVIDIA's: what this program was compiled with and what would be loaded.
struct CudaLibrary {
  std::string name;      ///< "CUDA runtime", "cuBLASLt", "cuDNN", "NCCL"
  std::string compiled;  ///< "13.0.88"; "": not at all
  std::string running;   ///< "": not found on this machine
};
std::vector<CudaLibrary> query_cuda_libraries();

}  // namespace llama_zero
