// llama_zero report: what this installation is, what it can use and what is missing. Needs no GPU.
#pragma once

#include <string>
#include <vector>

#include "launcher/host_group.h"
#include "launcher/report_gpu.h"
#include "launcher/report_host.h"
#include "zero/mpi_communicator.h"

namespace llama_zero {

/// One line of the op table: built in and usable here, or why not.
struct OpAvailability {
  std::string name;
  std::string why_not;  ///< "" when available
};
std::vector<OpAvailability> op_table(const GpuSection& gpus);

/// In the look of ds_report.
std::string format_op_table(const std::vector<OpAvailability>& ops);

/// What is missing or too small, each with what to do about it. Empty: nothing.
std::vector<std::string> missing_pieces(const HostLimits& limits, const GpuSection& gpus);

/// Rank 0 prints versions, op table, then each host and its ranks. The exit code is 0 whatever is missing.
int run_report(const HostGroup& group, const MpiWorld& world);

}  // namespace llama_zero
