#include "launcher/plan_backend.h"

#include <algorithm>
#include <cstdlib>

#include "core/device.h"
#include "core/error.h"
#include "launcher/report_host.h"
#include "launcher/runtime.h"

#ifdef LLAMA_ZERO_WITH_CUDA
#include "core/cuda/cuda_report.h"
#include "kernels/cuda/cuda_ops.h"
#include "launcher/cuda_attention.h"
#include "launcher/driver_memory.h"
#endif

namespace llama_zero {
namespace {

PlanBackend cpu_backend(int ranks_on_host) {
  PlanBackend backend;
  // Workspace grows with threads: those that ranks of such a host would get on this machine.
  const auto cores = static_cast<int>(cores_of_process().size());
  backend.sizing = make_cpu_ops(threads_per_rank(std::getenv("OMP_NUM_THREADS"), cores, ranks_on_host));
  backend.memory_bytes = make_cpu_device()->memory_info().free / static_cast<std::size_t>(ranks_on_host);
  backend.description = "CPU: device memory is host memory";
  return backend;
}

#ifdef LLAMA_ZERO_WITH_CUDA

PlanBackend cuda_backend(AttentionChoice attention) {
  PlanBackend backend;
  backend.device = DeviceType::kCuda;
  backend.sizing = make_cuda_sizing_ops({cuda_attention_of(attention), {}});
  backend.cuda_bytes = kCudaLibraryBytes;
  const GpuReport gpus = query_gpus();
  if (gpus.gpus.empty()) {
    backend.description = "CUDA; no GPU here: " + gpus.why_none;
    return backend;
  }
  const auto least = std::ranges::min_element(gpus.gpus, {}, &GpuFacts::memory_bytes);
  backend.memory_bytes = least->memory_bytes;
  backend.description = "CUDA; " + least->name;
  return backend;
}

constexpr bool kHasCuda = true;

#else

PlanBackend cuda_backend(AttentionChoice) {
  fail("this program was built without CUDA (no nvcc was found): plan with --device cpu");
}

constexpr bool kHasCuda = false;

#endif

}  // namespace

PlanBackend make_plan_backend(DeviceChoice choice, AttentionChoice attention, int ranks_on_host) {
  const bool cuda = choice == DeviceChoice::kCuda || (choice == DeviceChoice::kAuto && kHasCuda);
  return cuda ? cuda_backend(attention) : cpu_backend(ranks_on_host);
}

}  // namespace llama_zero
