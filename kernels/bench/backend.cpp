#include <algorithm>

#include "core/error.h"
#include "kernels/bench/case.h"

#ifdef LLAMA_ZERO_WITH_CUDA
#include "core/cuda/cuda_device.h"
#include "kernels/cuda/cublas_lt.h"
#include "kernels/cuda/cuda_ops.h"
#endif

namespace llama_zero::bench {
namespace {

Backend complete(Backend backend, std::size_t capacity_bytes) {
  backend.stream = backend.device->create_stream("bench");
  backend.arena = std::make_unique<Arena>(*backend.device, capacity_bytes, "bench");
  return backend;
}

}  // namespace

Backend make_cpu_backend(int threads, std::size_t capacity_bytes) {
  Backend backend;
  backend.name = "cpu";
  backend.device = make_cpu_device();
  backend.ops = make_cpu_ops(threads);
  return complete(std::move(backend), capacity_bytes);
}

#ifdef LLAMA_ZERO_WITH_CUDA

std::string why_no_gpu() {
  std::string missing;
  return cuda_available(&missing) ? why_no_cublas_lt() : missing;
}

Backend make_gpu_backend(std::size_t capacity_bytes) {
  constexpr std::int64_t kFlushBytes = std::int64_t{256} << 20;  // five times an H100's L2
  Backend backend;
  backend.name = "cuda";
  backend.device = make_cuda_device(0);
  backend.ops = make_cuda_ops(*backend.device);
  const std::size_t free = backend.device->memory_info().free / 10 * 9;
  backend = complete(std::move(backend), std::min(capacity_bytes, free));
  backend.flush = backend.arena->allocate("flush", DType::kU8, kFlushBytes);
  return backend;
}

#else

std::string why_no_gpu() { return "this program was built without CUDA (no nvcc was found)"; }

Backend make_gpu_backend(std::size_t) { fail("CUDA cannot be used: {}", why_no_gpu()); }

#endif

}  // namespace llama_zero::bench
