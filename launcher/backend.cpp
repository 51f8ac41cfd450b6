#include "launcher/backend.h"

#include "core/error.h"

#ifdef LLAMA_ZERO_WITH_CUDA
#include "core/cuda/cuda_device.h"
#include "kernels/cuda/cublas_lt.h"
#include "kernels/cuda/cuda_ops.h"
#include "launcher/cuda_attention.h"
#include "zero/cuda/nccl_communicator.h"
#include "zero/cuda/pinned_staging.h"
#endif

namespace llama_zero {

void check_device(DeviceChoice choice) {
  if (choice != DeviceChoice::kCuda) return;
  const std::string missing = why_no_cuda();
  require(missing.empty(), "CUDA cannot be used: {}; use --device cpu or auto", missing);
}

int gpu_of_rank(int local_rank, int gpus) { return local_rank % gpus; }

Backend make_cpu_backend(int threads) {
  Backend backend;
  backend.device = make_cpu_device();
  backend.ops = make_cpu_ops(threads);
  return backend;
}

#ifdef LLAMA_ZERO_WITH_CUDA

namespace {

// What stands in NCCL's way, or nothing.
std::string why_not_nccl(int sharing) {
  if (sharing > 1) return fmt::format("{} ranks share one GPU, and NCCL wants one each", sharing);
  return why_no_nccl();
}

}  // namespace

std::string why_no_cuda() {
  std::string missing;
  return cuda_available(&missing) ? why_no_cublas_lt() : missing;
}

Backend make_cuda_backend(int local_rank, AttentionChoice attention) {
  check_device(DeviceChoice::kCuda);
  Backend backend;
  backend.gpus = cuda_device_count();
  backend.gpu = gpu_of_rank(local_rank, backend.gpus);
  backend.device = make_cuda_device(backend.gpu);
  backend.gpu_identity = cuda_properties(*backend.device).identity;
  CudaOpsOptions options;
  options.attention = cuda_attention_of(attention);
  backend.ops = make_cuda_ops(*backend.device, options);
  return backend;
}

void check_communicator(const Backend& backend, CommunicatorChoice choice, int sharing) {
  if (choice != CommunicatorChoice::kNccl) return;
  require(backend.device->type() == DeviceType::kCuda,
          "llama_zero.communicator is \"nccl\", but this run computes on the CPU");
  const std::string trouble = why_not_nccl(sharing);
  require(trouble.empty(), "llama_zero.communicator is \"nccl\", but {}", trouble);
}

bool nccl_serves(const Backend& backend, int sharing) {
  return backend.device->type() == DeviceType::kCuda && why_not_nccl(sharing).empty();
}

std::unique_ptr<Communicator> make_communicator(MpiWorld& world, Backend& backend, CommunicatorChoice choice,
                                                double timeout_seconds) {
  if (choice == CommunicatorChoice::kNccl) {
    return make_nccl_communicator(make_mpi_communicator(world, timeout_seconds), *backend.device, timeout_seconds);
  }
  if (world.size() == 1) return make_local_communicator(*backend.device);
  if (backend.device->type() == DeviceType::kCpu) return make_mpi_communicator(world, timeout_seconds);
  return make_mpi_communicator(world, timeout_seconds, make_pinned_staging(*backend.device));
}

#else

std::string why_no_cuda() { return "this program was built without CUDA (no nvcc was found)"; }

Backend make_cuda_backend(int, AttentionChoice) {
  check_device(DeviceChoice::kCuda);
  return {};
}

void check_communicator(const Backend&, CommunicatorChoice choice, int) {
  require(choice != CommunicatorChoice::kNccl, "llama_zero.communicator is \"nccl\", but {}", why_no_cuda());
}

bool nccl_serves(const Backend&, int) { return false; }

std::unique_ptr<Communicator> make_communicator(MpiWorld& world, Backend& backend, CommunicatorChoice,
                                                double timeout_seconds) {
  if (world.size() == 1) return make_local_communicator(*backend.device);
  return make_mpi_communicator(world, timeout_seconds);
}

#endif

}  // namespace llama_zero
