// RMSNorm with the fused residual addition. A row stays in registers between its statistic and its result.
#include "kernels/cuda/block.cuh"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/pack.cuh"

namespace llama_zero::cuda {
namespace {

constexpr const char* kOp = "rmsnorm_forward";

template <typename T>
struct Rows {
  const T* input;
  const T* residual;
  const T* weight;
  T* sum;
  T* output;
  float* rstd;
  std::int64_t rows;
  int hidden;
  float eps;
};

/// kThreads threads a row, blockDim.y rows a block (more than one only when a warp is enough for a row).
template <typename T, int kThreads, int kPacks, bool kResidual>
__global__ void __launch_bounds__(kThreads < 128 ? 128 : kThreads) rows_kernel(const Rows<T> args) {
  constexpr int N = kPackOf<T>;
  __shared__ float parts[kThreads / 32];
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  if (row >= args.rows) return;  // a whole warp, and blocks of several warps a row have one row
  const int packs = args.hidden / N;
  const std::int64_t offset = row * args.hidden;
  Pack<T, N> x[kPacks];
  Pack<T, N> residual[kResidual ? kPacks : 1];
#pragma unroll
  for (int p = 0; p < kPacks; ++p) {
    const int pack = static_cast<int>(threadIdx.x) + p * kThreads;
    if (pack < packs) {
      x[p] = load_pack<T, N>(args.input + offset + pack * N);
      if constexpr (kResidual) residual[p] = load_pack<T, N>(args.residual + offset + pack * N);
    }
  }
  float squares = 0.0F;
#pragma unroll
  for (int p = 0; p < kPacks; ++p) {
    const int pack = static_cast<int>(threadIdx.x) + p * kThreads;
    if (pack < packs) {
      float value[N];
      unpack(x[p], value);
      if constexpr (kResidual) {
        float other[N];
        unpack(residual[p], other);
#pragma unroll
        for (int i = 0; i < N; ++i) value[i] += other[i];
        x[p] = make_pack<T, N>(value);
        store_pack<T, N>(args.sum + offset + pack * N, x[p]);
        unpack(x[p], value);
      }
#pragma unroll
      for (int i = 0; i < N; ++i) squares = fmaf(value[i], value[i], squares);
    }
  }
  squares = block_sum<kThreads>(squares, parts);
  const float rstd = 1.0F / sqrtf(squares / static_cast<float>(args.hidden) + args.eps);
  if (threadIdx.x == 0) args.rstd[row] = rstd;
#pragma unroll
  for (int p = 0; p < kPacks; ++p) {
    const int pack = static_cast<int>(threadIdx.x) + p * kThreads;
    if (pack < packs) {
      float value[N];
      float weight[N];
      unpack(x[p], value);
      load<T, N>(args.weight + pack * N, weight);
#pragma unroll
      for (int i = 0; i < N; ++i) value[i] = value[i] * rstd * weight[i];
      store<T, N>(args.output + offset + pack * N, value);
    }
  }
}

constexpr int kAnyThreads = 256;

/// Any hidden size and alignment: element by element, the row read twice.
template <typename T>
__global__ void __launch_bounds__(kAnyThreads) any_row_kernel(const Rows<T> args) {
  __shared__ float parts[kAnyThreads / 32];
  const std::int64_t offset = static_cast<std::int64_t>(blockIdx.x) * args.hidden;
  const T* x = args.residual != nullptr ? args.sum : args.input;
  float squares = 0.0F;
  for (int i = static_cast<int>(threadIdx.x); i < args.hidden; i += kAnyThreads) {
    float value = to_float(args.input[offset + i]);
    if (args.residual != nullptr) {
      const T rounded = from_float<T>(value + to_float(args.residual[offset + i]));
      args.sum[offset + i] = rounded;
      value = to_float(rounded);
    }
    squares = fmaf(value, value, squares);
  }
  squares = block_sum<kAnyThreads>(squares, parts);
  const float rstd = 1.0F / sqrtf(squares / static_cast<float>(args.hidden) + args.eps);
  if (threadIdx.x == 0) args.rstd[blockIdx.x] = rstd;
  for (int i = static_cast<int>(threadIdx.x); i < args.hidden; i += kAnyThreads) {
    args.output[offset + i] = from_float<T>(to_float(x[offset + i]) * rstd * to_float(args.weight[i]));
  }
}

template <typename T, int kThreads, int kPacks>
void launch_rows(const Rows<T>& rows, const Launch& launch) {
  constexpr int kRowsPerBlock = kThreads < 128 ? 128 / kThreads : 1;
  const dim3 threads(kThreads, kRowsPerBlock);
  const auto blocks = static_cast<unsigned>(ceil_div(rows.rows, kRowsPerBlock));
  if (rows.residual != nullptr) {
    rows_kernel<T, kThreads, kPacks, true><<<blocks, threads, 0, launch.stream>>>(rows);
  } else {
    rows_kernel<T, kThreads, kPacks, false><<<blocks, threads, 0, launch.stream>>>(rows);
  }
}

template <typename T>
void forward(const RmsNormForward& args, const Launch& launch) {
  const Rows<T> rows{pointer<T>(args.input),      pointer<T>(args.residual),
                     pointer<T>(args.weight),     pointer<T>(args.sum),
                     pointer<T>(args.output),     pointer<float>(args.rstd),
                     args.tokens_count,           static_cast<int>(args.hidden_size),
                     static_cast<float>(args.eps)};
  const std::int64_t packs = args.hidden_size / kPackOf<T>;
  const bool vectorised = args.hidden_size % kPackOf<T> == 0 && packs <= 256 * 8 &&
                          aligned16(rows.input, rows.residual, rows.weight, rows.sum, rows.output);
  if (!vectorised) {
    any_row_kernel<T><<<static_cast<unsigned>(args.tokens_count), kAnyThreads, 0, launch.stream>>>(rows);
  } else if (packs <= 32 * 4) {
    launch_rows<T, 32, 4>(rows, launch);
  } else if (packs <= 256) {
    launch_rows<T, 256, 1>(rows, launch);
  } else if (packs <= 256 * 2) {
    launch_rows<T, 256, 2>(rows, launch);
  } else if (packs <= 256 * 4) {
    launch_rows<T, 256, 4>(rows, launch);
  } else {
    launch_rows<T, 256, 8>(rows, launch);
  }
}

}  // namespace

void run(const RmsNormForward& args, const Launch& launch) {
  if (args.tokens_count == 0) return;
  with_storage(kOp, args.input.dtype(), [&]<typename T>(T) { forward<T>(args, launch); });
  check_launch(kOp);
}

}  // namespace llama_zero::cuda
