#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "launcher/report_command.h"
#include "launcher/report_host.h"

using namespace llama_zero;

namespace {

constexpr std::size_t kMb = std::size_t{1} << 20U;

GpuSection gpus(const std::string& why_none, const std::string& why_no_nccl = "") {
  GpuSection section;
  section.why_none = why_none;
  section.why_no_nccl = why_no_nccl;
  return section;
}

HostLimits roomy() {
  HostLimits limits;
  limits.shared_memory = 1024 * kMb;
  return limits;
}

bool contains(const std::vector<std::string>& lines, const char* part) {
  return std::ranges::any_of(lines, [&](const std::string& line) { return line.find(part) != std::string::npos; });
}

}  // namespace

TEST_CASE("cores are spelled as ranges") {
  CHECK(spell_ranges({}) == "");
  CHECK(spell_ranges({3}) == "3");
  CHECK(spell_ranges({0, 1, 2, 3, 8, 10, 11}) == "0-3,8,10-11");
}

TEST_CASE("only variables that steer the run are listed, in order") {
  const char* environment[] = {"HOME=/root",
                               "NCCL_DEBUG=INFO",
                               "OMP_NUM_THREADS=2",
                               "OMPI_COMM_WORLD_RANK=0",
                               "XNCCL_DEBUG=WARN",
                               "CUDA_VISIBLE_DEVICES=1",
                               nullptr};
  CHECK(steering_variables(environment) ==
        std::vector<std::string>{"CUDA_VISIBLE_DEVICES=1", "NCCL_DEBUG=INFO", "OMP_NUM_THREADS=2"});
}

TEST_CASE("what mpirun sets for its own ends is not listed, what a user sets by the same means is") {
  const char* environment[] = {"OMPI_MCA_ess=pmi",
                               "OMPI_MCA_orte_launch=1",
                               "OMPI_MCA_btl=self,tcp",
                               "PRTE_MCA_prte_x=1",
                               "PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe",
                               nullptr};
  CHECK(steering_variables(environment) ==
        std::vector<std::string>{"OMPI_MCA_btl=self,tcp", "PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe"});
}

TEST_CASE("a machine with a GPU and room misses nothing") { CHECK(missing_pieces(roomy(), gpus("")).empty()); }

TEST_CASE("each missing piece comes with what to do about it") {
  CHECK(contains(missing_pieces(roomy(), gpus("no NVIDIA driver is loaded")), "--gpus all"));
  CHECK(contains(missing_pieces(roomy(), gpus("this program was built without CUDA", "same")), "nvcc"));
  CHECK(contains(missing_pieces(roomy(), gpus("", "libnccl.so.2 was not found")), "libnccl2"));
  HostLimits limits = roomy();
  limits.shared_memory = 64 * kMb;
  CHECK(contains(missing_pieces(limits, gpus("")), "64.00 MB"));
  limits.shared_memory.reset();
  CHECK(contains(missing_pieces(limits, gpus("")), "not mounted"));
  limits = roomy();
  limits.memlock = 8 * kMb;
  CHECK(contains(missing_pieces(limits, gpus("")), "ulimit -l unlimited"));
}

TEST_CASE("512 MB of shared memory are enough, a byte less is not") {
  HostLimits limits;
  limits.shared_memory = 512 * kMb;
  CHECK(missing_pieces(limits, gpus("")).empty());
  *limits.shared_memory -= 1;
  CHECK(missing_pieces(limits, gpus("")).size() == 1);
}

TEST_CASE("page-locked memory matters only beside a GPU") {
  HostLimits limits = roomy();
  limits.memlock = 8 * kMb;
  CHECK_FALSE(contains(missing_pieces(limits, gpus("no NVIDIA driver is loaded")), "memlock"));
}

TEST_CASE("the op table says what can be used and why the rest cannot") {
  const auto table = op_table(gpus("no NVIDIA driver is loaded"));
  const std::string text = format_op_table(table);
  CHECK(text.find("cpu_ops ................ [YES]\n") != std::string::npos);
  CHECK(text.find("cuda_ops ............... [NO]  no NVIDIA driver is loaded\n") != std::string::npos);
  CHECK(text.find("cpu_adamw .............. [YES]\n") != std::string::npos);
  for (const OpAvailability& op : op_table(gpus(""))) CHECK(op.why_not == "");
  const auto no_nccl = op_table(gpus("", "no libnccl"));
  CHECK(std::ranges::count_if(no_nccl, [](const OpAvailability& op) { return op.why_not == "no libnccl"; }) == 1);
}

TEST_CASE("host facts are read without a GPU") {
  const HostLimits limits = read_host_limits();
  CHECK(limits.memory_bytes > limits.available_bytes);
  CHECK(limits.available_bytes > 0);
  const auto lines = describe_host(limits);
  for (const char* label : {"processor", "cores", "features", "NUMA", "memory", "cgroup", "/dev/shm", "memlock"}) {
    INFO(label);
    const auto line = std::ranges::find(lines, label, &ReportLine::label);
    REQUIRE(line != lines.end());
    CHECK(line->text != "");
  }
}
