// Where a run computes: device, threads, communicator of this rank.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/device.h"
#include "kernels/ops.h"
#include "launcher/config.h"
#include "launcher/host_group.h"
#include "zero/communicator.h"
#include "zero/mpi_communicator.h"

namespace llama_zero {

/// A rank that waits longer than this for the others in a collective gives up.
inline constexpr double kCollectiveTimeoutSeconds = 300.0;

/// Throws Error when this build does not have the device.
void check_device(DeviceChoice choice);

class Runtime {
 public:
  /// Collective. `world` must outlive the object; `choice` has passed check_device.
  Runtime(MpiWorld& world, DeviceChoice choice);

  const HostGroup& group() const { return group_; }
  int rank() const { return group_.rank(); }
  int ranks() const { return group_.size(); }
  int ranks_on_host() const { return world_.local_size(); }
  Device& device() { return *device_; }
  Ops& ops() { return *ops_; }
  Communicator& communicator() { return *communicator_; }

  /// "CPU (AMD EPYC ..., 16 threads); CUDA is not used in this version"
  std::string describe_device() const;
  /// "2 (2 on this host), 1 thread each; MPI (2 ranks, host-staged), Open MPI v4.1.4"
  std::string describe_ranks() const;

 private:
  MpiWorld& world_;
  HostGroup group_;
  int threads_;
  bool automatic_;
  std::unique_ptr<Device> device_;
  std::unique_ptr<Ops> ops_;
  std::unique_ptr<Communicator> communicator_;
};

/// Threads for one rank: OMP_NUM_THREADS (`environment`, may be null) when it is a number >= 1; else the cores this
/// process may use, shared with the other ranks of the host unless mpirun already bound each rank to its own (fewer
/// cores than ranks); at least 1.
int threads_per_rank(const char* environment, int usable_cores, int ranks_on_host);

}  // namespace llama_zero
