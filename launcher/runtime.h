// Where a run computes: device, threads, communicator of this rank.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/device.h"
#include "kernels/ops.h"
#include "launcher/backend.h"
#include "launcher/config.h"
#include "launcher/host_group.h"
#include "zero/communicator.h"
#include "zero/mpi_communicator.h"

namespace llama_zero {

struct RuntimeOptions {
  DeviceChoice device = DeviceChoice::kAuto;
  AttentionChoice attention = AttentionChoice::kAuto;
  CommunicatorChoice communicator = CommunicatorChoice::kAuto;
  double collective_timeout = 300.0;  ///< seconds; a rank that waits longer for the others in a collective gives up
  double work_timeout = HostPatience::kForEver;  ///< the same for HostPatience::work
};

class Runtime {
 public:
  /// Collective. `world` must outlive the object. kAuto takes CUDA when every rank can use it. Throws AgreedError when
  /// what is asked for cannot be had.
  Runtime(MpiWorld& world, const RuntimeOptions& options);

  const HostGroup& group() const { return group_; }
  HostGroup& group() { return group_; }
  int rank() const { return group_.rank(); }
  int ranks() const { return group_.size(); }
  int ranks_on_host() const { return world_.local_size(); }
  Device& device() { return *backend_.device; }
  const Device& device() const { return *backend_.device; }
  Ops& ops() { return *backend_.ops; }
  Communicator& communicator() { return *communicator_; }
  bool exchanges_by_nccl() const { return by_nccl_; }

  /// Collective: what of the device's free memory this rank may take, without what its libraries will
  /// (driver_memory.h), the same on every rank: the least, where ranks share a device or the hosts differ.
  std::size_t free_bytes() const;

  /// What the driver counts more than when this object was made: the run's memory on a GPU that no other rank shares.
  /// Nothing on the CPU or a shared GPU.
  std::optional<std::size_t> driver_bytes() const;

  /// "NVIDIA H100 80GB HBM3 (GPU 0 of 1)", "CPU (AMD EPYC ..., 16 threads); CUDA is not used: no NVIDIA driver is
  /// loaded"
  std::string describe_device() const;
  int threads() const { return threads_; }  ///< of this rank
  /// "2 (2 on this host), 1 thread each; MPI (2 ranks, host-staged), Open MPI v4.1.4"
  std::string describe_ranks() const;

 private:
  void choose_backend(const RuntimeOptions& options);
  void count_sharers();
  void choose_communicator(CommunicatorChoice choice, double timeout_seconds);

  MpiWorld& world_;
  HostGroup group_;
  int threads_;
  std::string why_no_cuda_;  ///< kAuto fell back to the CPU, because ...
  Backend backend_;
  int sharing_ = 1;  ///< ranks on this rank's device
  int most_sharing_ = 1;
  std::unique_ptr<Communicator> communicator_;
  bool by_nccl_ = false;
  std::size_t free_at_start_ = 0;
};

/// Threads for one rank: OMP_NUM_THREADS (`environment`, may be null) when it is a number >= 1; else the cores this
/// process may use, shared with the other ranks of the host unless mpirun already bound each rank to its own (fewer
/// cores than ranks); at least 1.
int threads_per_rank(const char* environment, int usable_cores, int ranks_on_host);

}  // namespace llama_zero
