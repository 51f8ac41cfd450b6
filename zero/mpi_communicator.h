// Ranks as MPI processes. Collectives are built from nonblocking sends and receives that are polled against a deadline,
// so that a lost or stalled rank becomes a message instead of a hang, and waiting ranks give their core away.
//
// No MPI type appears here: only the files that speak MPI include mpi.h.
#pragma once

#include <memory>
#include <string>

#include "zero/communicator.h"
#include "zero/host_staging.h"
#include "zero/mesh.h"

namespace llama_zero {

/// The process's membership in MPI: initialises on construction, finalises on destruction. One object a process, on the
/// main thread, alive longer than every communicator made from it. Catch errors inside its lifetime and call abort():
/// when it is destroyed by an exception it ends all ranks without a message.
class MpiWorld {
 public:
  /// Throws Error when MPI cannot be initialised for calls from one thread.
  MpiWorld(int* argc, char*** argv);
  MpiWorld() : MpiWorld(nullptr, nullptr) {}
  ~MpiWorld();
  MpiWorld(const MpiWorld&) = delete;
  MpiWorld& operator=(const MpiWorld&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  /// Rank among, and number of, the ranks that share this host.
  int local_rank() const { return local_rank_; }
  int local_size() const { return local_size_; }
  /// "Open MPI v4.1.4, ..."
  std::string version() const;

  /// Prints `message` (when not empty) on stderr and ends all ranks with exit code 1. Of several ranks that call it at
  /// about the same time only the lowest prints.
  [[noreturn]] void abort(const std::string& message) noexcept;

 private:
  int rank_ = 0, size_ = 1, local_rank_ = 0, local_size_ = 1;
};

/// Communicator of all ranks. A collective that takes longer than `timeout_seconds` throws Error. `staging` null: CPU
/// buffers, used in place.
std::unique_ptr<Communicator> make_mpi_communicator(MpiWorld& world, double timeout_seconds,
                                                    std::unique_ptr<HostStaging> staging = nullptr);

/// Communicator of this rank's group along one axis of the mesh. Collective over all ranks of the world.
std::unique_ptr<Communicator> make_mpi_communicator(MpiWorld& world, const Mesh& mesh, MeshAxis axis,
                                                    double timeout_seconds,
                                                    std::unique_ptr<HostStaging> staging = nullptr);

}  // namespace llama_zero
