// SwiGLU and its gradient, element-wise over [T, I].
#include "kernels/cuda/flat.cuh"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/pack.cuh"

namespace llama_zero::cuda {
namespace {

__device__ __forceinline__ float sigmoid(float x) { return 1.0F / (1.0F + expf(-x)); }

/// Where element `offset` of [T, I] has its gate in [T, 2I]; groups never straddle a row.
__device__ __forceinline__ std::int64_t gate_offset(std::int64_t offset, unsigned intermediate_size) {
  const std::int64_t row =
      offset < 0x100000000LL ? static_cast<unsigned>(offset) / intermediate_size : offset / intermediate_size;
  return offset + row * intermediate_size;
}

template <typename T>
struct ForwardBody {
  const T* gate_up;
  T* output;
  unsigned intermediate_size;

  template <int N>
  struct Values {
    float gate[N], up[N];
  };
  template <int N>
  __device__ void load(std::int64_t offset, Values<N>& values) const {
    const T* gate = gate_up + gate_offset(offset, intermediate_size);
    cuda::load<T, N>(gate, values.gate);
    cuda::load<T, N>(gate + intermediate_size, values.up);
  }
  template <int N>
  __device__ void store(std::int64_t offset, Values<N>& values) const {
    float result[N];
#pragma unroll
    for (int i = 0; i < N; ++i) result[i] = values.gate[i] * sigmoid(values.gate[i]) * values.up[i];
    cuda::store<T, N>(output + offset, result);
  }
};

template <typename T>
struct BackwardBody {
  const T* grad_output;
  const T* gate_up;
  T* grad_gate_up;
  unsigned intermediate_size;

  template <int N>
  struct Values {
    float grad[N], gate[N], up[N];
  };
  template <int N>
  __device__ void load(std::int64_t offset, Values<N>& values) const {
    const T* gate = gate_up + gate_offset(offset, intermediate_size);
    cuda::load<T, N>(grad_output + offset, values.grad);
    cuda::load<T, N>(gate, values.gate);
    cuda::load<T, N>(gate + intermediate_size, values.up);
  }
  template <int N>
  __device__ void store(std::int64_t offset, Values<N>& values) const {
    float grad_gate[N];
    float grad_up[N];
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const float s = sigmoid(values.gate[i]);
      const float silu = values.gate[i] * s;
      grad_gate[i] = values.grad[i] * values.up[i] * (s + silu * (1.0F - s));
      grad_up[i] = values.grad[i] * silu;
    }
    T* to = grad_gate_up + gate_offset(offset, intermediate_size);
    cuda::store<T, N>(to, grad_gate);
    cuda::store<T, N>(to + intermediate_size, grad_up);
  }
};

}  // namespace

void run(const SwiGluForward& args, const Launch& launch) {
  with_storage("swiglu_forward", args.gate_up.dtype(), [&]<typename T>(T) {
    constexpr int N = kPackOf<T>;
    const bool vectorised = args.intermediate_size % N == 0 && aligned16(args.gate_up.raw(), args.output.raw());
    const ForwardBody<T> body{pointer<T>(args.gate_up), pointer<T>(args.output),
                              static_cast<unsigned>(args.intermediate_size)};
    launch_flat<N, 2>("swiglu_forward", body, args.output.numel(), vectorised, launch);
  });
}

void run(const SwiGluBackward& args, const Launch& launch) {
  with_storage("swiglu_backward", args.gate_up.dtype(), [&]<typename T>(T) {
    constexpr int N = kPackOf<T>;
    const bool vectorised = args.intermediate_size % N == 0 &&
                            aligned16(args.gate_up.raw(), args.grad_output.raw(), args.grad_gate_up.raw());
    const BackwardBody<T> body{pointer<T>(args.grad_output), pointer<T>(args.gate_up), pointer<T>(args.grad_gate_up),
                               static_cast<unsigned>(args.intermediate_size)};
    launch_flat<N, 2>("swiglu_backward", body, args.grad_output.numel(), vectorised, launch);
  });
}

}  // namespace llama_zero::cuda
