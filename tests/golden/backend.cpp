#include "tests/golden/backend.h"

#include <cstdio>

#include "core/error.h"

#ifdef LLAMA_ZERO_WITH_CUDA
#include "core/cuda/cuda_device.h"
#include "kernels/cuda/cuda_ops.h"
#endif

namespace llama_zero::test {
namespace {

#ifdef LLAMA_ZERO_WITH_CUDA

bool cuda_ready(std::string& why_not) { return cuda_available(&why_not); }

Backend make_cuda() {
  Backend backend{"cuda", make_cuda_device(0), nullptr};
  backend.ops = make_cuda_ops(*backend.device);
  return backend;
}

#else

bool cuda_ready(std::string& why_not) {
  why_not = "built without CUDA";
  return false;
}

Backend make_cuda() { fail("built without CUDA"); }

#endif

}  // namespace

std::vector<std::string> backend_names() {
  static const std::vector<std::string> names = [] {
    std::string why_not;
    if (cuda_ready(why_not)) return std::vector<std::string>{"cpu", "cuda"};
    std::printf("skipped: golden tests on a GPU (%s)\n", why_not.c_str());
    return std::vector<std::string>{"cpu"};
  }();
  return names;
}

Backend make_backend(const std::string& name) {
  if (name == "cuda") return make_cuda();
  return {name, make_cpu_device(), make_cpu_ops(1)};
}

}  // namespace llama_zero::test
