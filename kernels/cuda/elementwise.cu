// Flat element-wise ops: cast, add, fill, and the reduction of rank pieces. Built with -fmad=false: bit-identical to
// the CPU.
#include <algorithm>

#include "kernels/cuda/flat.cuh"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/pack.cuh"

namespace llama_zero::cuda {
namespace {

constexpr int kGroup = 8;  // 16 bytes of a 16-bit type, 32 of fp32

template <typename S, typename D>
struct CastBody {
  const S* source;
  D* destination;
  float factor;

  template <int N>
  struct Values {
    float x[N];
  };
  template <int N>
  __device__ void load(std::int64_t offset, Values<N>& values) const {
    cuda::load<S, N>(source + offset, values.x);
  }
  template <int N>
  __device__ void store(std::int64_t offset, Values<N>& values) const {
#pragma unroll
    for (int i = 0; i < N; ++i) values.x[i] *= factor;
    cuda::store<D, N>(destination + offset, values.x);
  }
};

template <typename S, typename D>
struct AddBody {
  const S* source;
  D* destination;

  template <int N>
  struct Values {
    float x[N];
    float total[N];
  };
  template <int N>
  __device__ void load(std::int64_t offset, Values<N>& values) const {
    cuda::load<S, N>(source + offset, values.x);
    cuda::load<D, N>(destination + offset, values.total);
  }
  template <int N>
  __device__ void store(std::int64_t offset, Values<N>& values) const {
#pragma unroll
    for (int i = 0; i < N; ++i) values.total[i] += values.x[i];
    cuda::store<D, N>(destination + offset, values.total);
  }
};

template <typename D>
struct FillBody {
  D* destination;
  float value;

  template <int N>
  struct Values {};
  template <int N>
  __device__ void load(std::int64_t, Values<N>&) const {}
  template <int N>
  __device__ void store(std::int64_t offset, Values<N>&) const {
    float x[N];
#pragma unroll
    for (int i = 0; i < N; ++i) x[i] = value;
    cuda::store<D, N>(destination + offset, x);
  }
};

template <typename S, typename D>
struct ReduceBody {
  const S* pieces;
  D* output;
  std::int64_t count;
  int ranks;
  float factor;
  bool accumulate;

  template <int N>
  struct Values {
    float total[N];
  };
  template <int N>
  __device__ void load(std::int64_t offset, Values<N>& values) const {
    cuda::load<S, N>(pieces + offset, values.total);
#pragma unroll 4
    for (int rank = 1; rank < ranks; ++rank) {
      float x[N];
      cuda::load<S, N>(pieces + rank * count + offset, x);
#pragma unroll
      for (int i = 0; i < N; ++i) values.total[i] += x[i];
    }
  }
  template <int N>
  __device__ void store(std::int64_t offset, Values<N>& values) const {
#pragma unroll
    for (int i = 0; i < N; ++i) values.total[i] *= factor;
    if (accumulate) {
      float old[N];
      cuda::load<D, N>(output + offset, old);
#pragma unroll
      for (int i = 0; i < N; ++i) values.total[i] += old[i];
    }
    cuda::store<D, N>(output + offset, values.total);
  }
};

/// Calls f(S{}, D{}) for the storage types of two dtypes.
template <typename F>
void with_two(const char* op, DType source, DType destination, const F& f) {
  with_storage(op, source, [&]<typename S>(S s) { with_storage(op, destination, [&]<typename D>(D d) { f(s, d); }); });
}

__global__ void fill_double_kernel(double* values, std::int64_t count, double value) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kFlatThreads + threadIdx.x;
  if (i < count) values[i] = value;
}

/// Sums of losses and the like: a few numbers.
void fill_doubles(const Fill& args, const Launch& launch) {
  const std::int64_t count = args.destination.numel();
  if (count == 0) return;
  const auto blocks = static_cast<unsigned>(ceil_div(count, kFlatThreads));
  fill_double_kernel<<<blocks, kFlatThreads, 0, launch.stream>>>(pointer<double>(args.destination), count, args.value);
  check_launch("fill");
}

}  // namespace

void run(const Cast& args, const Launch& launch) {
  const bool vectorised = aligned16(args.source.raw(), args.destination.raw());
  with_two("cast", args.source.dtype(), args.destination.dtype(), [&]<typename S, typename D>(S, D) {
    const CastBody<S, D> body{pointer<S>(args.source), pointer<D>(args.destination), static_cast<float>(args.factor)};
    launch_flat<kGroup, 2>("cast", body, args.source.numel(), vectorised, launch);
  });
}

void run(const Add& args, const Launch& launch) {
  const bool vectorised = aligned16(args.source.raw(), args.destination.raw());
  with_two("add", args.source.dtype(), args.destination.dtype(), [&]<typename S, typename D>(S, D) {
    const AddBody<S, D> body{pointer<S>(args.source), pointer<D>(args.destination)};
    launch_flat<kGroup, 2>("add", body, args.source.numel(), vectorised, launch);
  });
}

void run(const Fill& args, const Launch& launch) {
  if (args.destination.dtype() == DType::kF64) {
    fill_doubles(args, launch);
    return;
  }
  with_storage("fill", args.destination.dtype(), [&]<typename D>(D) {
    const FillBody<D> body{pointer<D>(args.destination), static_cast<float>(args.value)};
    launch_flat<kGroup, 2>("fill", body, args.destination.numel(), aligned16(args.destination.raw()), launch);
  });
}

void run(const ReducePieces& args, const Launch& launch) {
  const std::int64_t count = args.output.numel();
  const bool vectorised = aligned16(args.pieces.raw(), args.output.raw()) && (args.ranks == 1 || count % kGroup == 0);
  with_two("reduce_pieces", args.pieces.dtype(), args.output.dtype(), [&]<typename S, typename D>(S, D) {
    const ReduceBody<S, D> body{pointer<S>(args.pieces),      pointer<D>(args.output),         count,
                                static_cast<int>(args.ranks), static_cast<float>(args.factor), args.accumulate};
    launch_flat<kGroup, 2>("reduce_pieces", body, count, vectorised, launch);
  });
}

}  // namespace llama_zero::cuda
