#include "launcher/runtime.h"

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <cstdlib>

#include "core/error.h"

namespace llama_zero {
namespace {

int usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return 1;
  return std::max(1, CPU_COUNT(&set));
}

}  // namespace

int threads_per_rank(const char* environment, int cores, int ranks_on_host) {
  const int wanted = environment == nullptr ? 0 : std::atoi(environment);
  if (wanted >= 1) return wanted;
  const int share = cores >= ranks_on_host ? cores / ranks_on_host : cores;
  return std::max(1, share);
}

void check_device(DeviceChoice choice) {
  require(choice != DeviceChoice::kCuda, "training on CUDA is not available in this version; use --device cpu or auto");
}

Runtime::Runtime(MpiWorld& world, DeviceChoice choice)
    : world_(world),
      group_(world.rank(), world.size()),
      threads_(threads_per_rank(std::getenv("OMP_NUM_THREADS"), usable_cores(), world.local_size())),
      automatic_(choice == DeviceChoice::kAuto),
      device_(make_cpu_device()),
      ops_(make_cpu_ops(threads_)),
      communicator_(world.size() == 1 ? make_local_communicator(*device_)
                                      : make_mpi_communicator(world, kCollectiveTimeoutSeconds)) {}

std::string Runtime::describe_device() const {
  return device_->description() + (automatic_ ? "; CUDA is not used in this version" : "");
}

std::string Runtime::describe_ranks() const {
  return fmt::format("{} ({} on this host), {} thread{} each; {}, {}", ranks(), ranks_on_host(), threads_,
                     threads_ == 1 ? "" : "s", communicator_->description(), world_.library());
}

}  // namespace llama_zero
