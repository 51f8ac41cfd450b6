// The device, the ops and the communicator of one rank: CUDA where it can be used, else the CPU.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "core/device.h"
#include "kernels/ops.h"
#include "launcher/config.h"
#include "zero/communicator.h"
#include "zero/mpi_communicator.h"

namespace llama_zero {

/// Empty when this program has a CUDA backend and this process sees a GPU that it can use, else a clause: "no NVIDIA
/// driver is loaded".
std::string why_no_cuda();

/// Throws Error when `choice` is kCuda and CUDA cannot be used.
void check_device(DeviceChoice choice);

/// The GPU of a rank by its place on its host: its own where there are enough, else shared in turn.
int gpu_of_rank(int local_rank, int gpus);

struct Backend {
  std::unique_ptr<Device> device;
  std::unique_ptr<Ops> ops;
  // Of a GPU.
  int gpu = 0, gpus = 0;           ///< ordinal of `gpus` visible ones
  std::uint64_t gpu_identity = 0;  ///< which GPU it really is, < 2^48; 0: the CPU
};

Backend make_cpu_backend(int threads);
/// Throws Error when CUDA cannot be used, or not with this kind of attention.
Backend make_cuda_backend(int local_rank, AttentionChoice attention);

/// Throws Error when NCCL is asked for and cannot be. `sharing`: ranks of the group on the most crowded GPU.
void check_communicator(const Backend& backend, CommunicatorChoice choice, int sharing);

/// Whether this rank can exchange by NCCL: it computes on a GPU, no rank shares one, and the library is there.
bool nccl_serves(const Backend& backend, int sharing);

/// Collective. `choice` has passed check_communicator and is the same on every rank, kNccl or kMpi; MPI goes through
/// host memory.
std::unique_ptr<Communicator> make_communicator(MpiWorld& world, Backend& backend, CommunicatorChoice choice,
                                                double timeout_seconds);

}  // namespace llama_zero
