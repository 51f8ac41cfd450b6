#include "launcher/report_gpu.h"

#include <fmt/format.h>

#ifdef LLAMA_ZERO_WITH_CUDA
#include "core/arena.h"
#include "core/cuda/cuda_report.h"
#include "zero/cuda/nccl_communicator.h"
#endif

namespace llama_zero {

#ifdef LLAMA_ZERO_WITH_CUDA

namespace {

std::string describe_gpu(const GpuFacts& gpu) {
  std::string text = fmt::format("{}, {}", gpu.name, format_bytes(gpu.memory_bytes));
  if (gpu.free_bytes > 0) text += fmt::format(" ({} free)", format_bytes(gpu.free_bytes));
  text += fmt::format(", compute capability {}.{}, {} multiprocessors, PCI {}", gpu.compute_capability / 10,
                      gpu.compute_capability % 10, gpu.multiprocessors, gpu.pci_bus);
  if (gpu.nvlinks > 0) text += fmt::format(", {} NVLinks", gpu.nvlinks);
  return text;
}

const char* name_of(PeerPath path) {
  switch (path) {
    case PeerPath::kSelf:
      return "-";
    case PeerPath::kNone:
      return "no";
    case PeerPath::kPcie:
      return "PCIe";
    case PeerPath::kNvlink:
      return "NVLink";
  }
  return "";
}

std::vector<ReportLine> describe_peers(const GpuReport& report) {
  if (report.gpus.size() < 2) return {};
  std::string header(8, ' ');
  for (const GpuFacts& gpu : report.gpus) header += fmt::format("{:>8}", fmt::format("GPU {}", gpu.ordinal));
  std::vector<ReportLine> lines = {{"peer access", header}};
  for (std::size_t from = 0; from < report.peers.size(); ++from) {
    std::string row = fmt::format("{:<8}", fmt::format("GPU {}", report.gpus[from].ordinal));
    for (const PeerPath path : report.peers[from]) row += fmt::format("{:>8}", name_of(path));
    lines.push_back({"", row});
  }
  return lines;
}

}  // namespace

GpuSection describe_gpus() {
  GpuSection section;
  const GpuReport report = query_gpus();
  section.why_none = report.why_none;
  section.why_no_nccl = why_no_nccl();
  for (const CudaLibrary& library : query_cuda_libraries()) {
    section.libraries.push_back({library.name, library.compiled, library.running});
  }
  if (report.gpus.empty()) {
    section.lines.push_back({"GPU", "none: " + report.why_none});
    return section;
  }
  section.lines.push_back({"driver", fmt::format("{}, up to CUDA {}.{}", report.driver.empty() ? "?" : report.driver,
                                                 report.driver_cuda / 1000, report.driver_cuda % 1000 / 10)});
  for (const GpuFacts& gpu : report.gpus) {
    section.lines.push_back({fmt::format("GPU {}", gpu.ordinal), describe_gpu(gpu)});
  }
  for (ReportLine& line : describe_peers(report)) section.lines.push_back(std::move(line));
  return section;
}

#else

GpuSection describe_gpus() {
  GpuSection section;
  section.why_none = section.why_no_nccl = "this program was built without CUDA";
  section.lines.push_back({"GPU", "not used: " + section.why_none});
  return section;
}

#endif

}  // namespace llama_zero
