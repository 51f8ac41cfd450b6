// What can be computed here, and what to install for the rest.
#include <fmt/format.h>

#include <string_view>

#include "core/arena.h"
#include "launcher/report_command.h"
#include "launcher/schema.h"
#include "launcher/schema_coerce.h"

namespace llama_zero {
namespace {

constexpr std::string_view kRule = "--------------------------------------------------------------\n";

}  // namespace

std::vector<OpAvailability> op_table(const GpuSection& gpus) {
  std::vector<OpAvailability> ops = {{"cpu_ops", ""},
                                     {"cuda_ops", gpus.why_none},
                                     {"flash_attention", gpus.why_none},
                                     {"collectives_mpi", ""},
                                     {"collectives_nccl", gpus.why_none.empty() ? gpus.why_no_nccl : gpus.why_none}};
  for (const std::string_view type : split_list(supported_optimizer_types())) {
    ops.push_back({"cpu_" + lower_case(type), ""});
    ops.push_back({"cuda_" + lower_case(type), gpus.why_none});
  }
  return ops;
}

std::string format_op_table(const std::vector<OpAvailability>& ops) {
  std::string text = fmt::format("{}{:.<24} {}\n{}", kRule, "op name ", "available", kRule);
  for (const OpAvailability& op : ops) {
    const std::string state = op.why_not.empty() ? "[YES]" : "[NO]  " + op.why_not;
    text += fmt::format("{:.<24} {}\n", op.name + " ", state);
  }
  return text + std::string(kRule);
}

std::vector<std::string> missing_pieces(const HostLimits& limits, const GpuSection& gpus) {
  std::vector<std::string> missing;
  const bool built_without = gpus.why_none.find("built without CUDA") != std::string::npos;
  if (built_without) {
    missing.push_back("GPU: install the CUDA toolkit (nvcc 12 or later, package cuda-toolkit), then `make`");
  } else if (!gpus.why_none.empty()) {
    missing.push_back(
        fmt::format("GPU: {}; install the NVIDIA driver, or start the container with --gpus all. Everything runs on "
                    "the CPU without",
                    gpus.why_none));
  }
  if (!built_without && !gpus.why_no_nccl.empty()) {
    missing.push_back(
        fmt::format("NCCL: {}; install libnccl2 and libnccl-dev, then `make`; without it ranks exchange "
                    "through MPI and host memory",
                    gpus.why_no_nccl));
  }
  if (!limits.shared_memory || *limits.shared_memory < kWantedSharedMemory) {
    missing.push_back(
        fmt::format("/dev/shm: {}, less than the 512 MB that ranks of one host may want; mount it larger (containers: "
                    "--shm-size=1g)",
                    limits.shared_memory ? format_bytes(*limits.shared_memory) : "not mounted"));
  }
  if (limits.memlock && gpus.why_none.empty()) {
    missing.push_back(
        fmt::format("memlock: page-locked host memory is limited to {}; `ulimit -l unlimited` (containers: "
                    "--ulimit memlock=-1)",
                    format_bytes(*limits.memlock)));
  }
  return missing;
}

}  // namespace llama_zero
