// GPUs and NVIDIA's libraries as lines of the report; in a build without CUDA, that they are not used and why.
#pragma once

#include <string>
#include <vector>

#include "launcher/report_host.h"
#include "launcher/report_libraries.h"

namespace llama_zero {

struct GpuSection {
  std::vector<ReportLine> lines;  ///< driver, cards, peer access; or why there is none
  std::vector<LibraryVersion> libraries;
  std::string why_none;     ///< "" when a GPU can be used
  std::string why_no_nccl;  ///< "" when NCCL can be used
};

/// Creates no CUDA context.
GpuSection describe_gpus();

}  // namespace llama_zero
