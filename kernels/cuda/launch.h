// What every launch needs, and the small helpers around it. Host side.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "core/cuda/cuda_check.h"
#include "core/view.h"

namespace llama_zero::cuda {

/// Given to every kernel launcher beside its arguments.
struct Launch {
  cudaStream_t stream = nullptr;
  View workspace;  ///< scratch, u8
  int multiprocessors = 0;
  std::size_t shared_memory_block = 0;  ///< bytes of shared memory a block may ask for
  int compute_capability = 0;           ///< 80, 90, ...
};

/// Throws Error naming `op` when its launch failed.
inline void check_launch(const char* op) {
  note_launch(op);
  check_cuda(cudaGetLastError(), op);
}

/// Calls f with a value of the C++ type that stores `dtype`; throws Error naming `op` for fp64, which CUDA ops don't
/// take.
template <typename F>
void with_storage(const char* op, DType dtype, const F& f) {
  switch (dtype) {
    case DType::kF32:
      return f(float{});
    case DType::kF16:
      return f(__half{});
    case DType::kBF16:
      return f(__nv_bfloat16{});
    default:
      fail("{}: the CUDA backend stores fp32, fp16 or bf16, not {}", op, name_of(dtype));
  }
}

template <typename T>
T* pointer(const View& view) {
  return reinterpret_cast<T*>(view.raw());
}
template <typename T>
const T* pointer(const ConstView& view) {
  return reinterpret_cast<const T*>(view.raw());
}

constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

/// Bytes that one thread loads or stores at once where alignment allows.
inline constexpr int kAccessBytes = 16;

/// Whether every given pointer (null: absent) allows 16-byte accesses.
template <typename... Pointers>
bool aligned16(const Pointers*... pointers) {
  return ((reinterpret_cast<std::uintptr_t>(pointers) % kAccessBytes == 0) && ...);
}

/// Hands out the workspace piece by piece, each piece aligned to 256 bytes.
class Scratch {
 public:
  Scratch(const char* op, const View& workspace, std::size_t needed) : next_(workspace.raw()) {
    require(needed <= workspace.bytes(), "{}: workspace has {} bytes, needs {}", op, workspace.bytes(), needed);
  }
  template <typename T>
  static std::size_t bytes(std::int64_t count) {
    return (static_cast<std::size_t>(count) * sizeof(T) + 255) / 256 * 256;
  }
  template <typename T>
  T* take(std::int64_t count) {
    auto* piece = reinterpret_cast<T*>(next_);
    next_ += bytes<T>(count);
    return piece;
  }

 private:
  std::byte* next_;
};

}  // namespace llama_zero::cuda
