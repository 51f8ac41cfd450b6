// RMSNorm's gradient. A fixed grid of blocks walks the rows, so that the weight gradient gathers in registers: each
// block leaves one row of partial sums, and a second kernel adds those in order.
#include <algorithm>

#include "kernels/cuda/async_copy.cuh"
#include "kernels/cuda/block.cuh"
#include "kernels/cuda/early_launch.cuh"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/pack.cuh"

namespace llama_zero::cuda {
namespace {

constexpr const char* kOp = "rmsnorm_backward";
constexpr int kMostMultiprocessors = 160;  // for sizing without a GPU; a larger one uses 160 multiprocessors' blocks
constexpr int kFewestRowsPerBlock = 16;    // so that the partial sums stay small beside the rows

/// Blocks that walk the rows: hidden sizes for which blocks are small get more of them.
std::int64_t row_blocks(std::int64_t rows, std::int64_t hidden, bool residual, int multiprocessors) {
  const std::int64_t per_multiprocessor = hidden <= 1024 ? 8 : hidden <= 2048 ? 4 : residual || hidden > 4096 ? 2 : 3;
  const std::int64_t most = std::min(std::min(multiprocessors, kMostMultiprocessors) * per_multiprocessor,
                                     ceil_div(rows, kFewestRowsPerBlock));
  // As few as take no longer: all walk equally many rows, but for the last.
  return most == 0 ? 0 : ceil_div(rows, ceil_div(rows, most));
}

template <typename T>
struct Rows {
  const T* grad_output;
  const T* input;
  const T* weight;
  const float* rstd;
  const T* grad_residual;
  T* grad_input;
  float* partial;  ///< [blocks, hidden]
  std::int64_t rows;
  int hidden;
};

/// Shared memory of rows_kernel: rows of two or three tensors.
template <typename T>
std::size_t stage_bytes(const Rows<T>& rows, int stages) {
  const int tensors = rows.grad_residual != nullptr ? 3 : 2;
  return static_cast<std::size_t>(stages * tensors * rows.hidden) * sizeof(T);
}

/// A thread works on the packs that it copied itself, so the only barrier is that of the sum over the row. kStages rows
/// are under way: one being worked on, the others on their way.
template <typename T, int kThreads, int kPacks, int kStages, bool kResidual>
__global__ void __launch_bounds__(kThreads, kThreads* kPacks <= 512 ? 2 : 1) rows_kernel(const Rows<T> args) {
  constexpr int N = kPackOf<T>;
  constexpr int kTensors = kResidual ? 3 : 2;
  extern __shared__ uint4 stages[];  // [kStages][kTensors][packs]
  __shared__ float parts[2][kThreads / 32];
  const int packs = args.hidden / N;
  const int thread = static_cast<int>(threadIdx.x);

  const auto fetch = [&](std::int64_t row, int stage) {
    if (row < args.rows) {
      const std::int64_t offset = row * args.hidden;
      uint4* to = stages + stage * kTensors * packs;
#pragma unroll
      for (int p = 0; p < kPacks; ++p) {
        const int pack = thread + p * kThreads;
        if (pack < packs) {
          copy_async16(to + pack, args.grad_output + offset + pack * N);
          copy_async16(to + packs + pack, args.input + offset + pack * N);
          if constexpr (kResidual) copy_async16(to + 2 * packs + pack, args.grad_residual + offset + pack * N);
        }
      }
    }
    commit_async();
  };

  Pack<T, N> weight[kPacks];
  float grad_weight[kPacks][N] = {};
  std::int64_t row = blockIdx.x;
#pragma unroll
  for (int s = 0; s < kStages - 1; ++s) fetch(row + s * gridDim.x, s);
#pragma unroll
  for (int p = 0; p < kPacks; ++p) {
    const int pack = thread + p * kThreads;
    if (pack < packs) weight[p] = load_pack<T, N>(args.weight + pack * N);
  }
  int stage = 0;
  for (int buffer = 0; row < args.rows; row += gridDim.x, buffer ^= 1) {
    const int free_stage = stage == 0 ? kStages - 1 : stage - 1;  // the one that the previous row left
    fetch(row + (kStages - 1) * gridDim.x, free_stage);
    const float rstd = args.rstd[row];
    wait_async<kStages - 1>();
    const auto* data = reinterpret_cast<const Pack<T, N>*>(stages + stage * kTensors * packs);
    float projection = 0.0F;
#pragma unroll
    for (int p = 0; p < kPacks; ++p) {
      const int pack = thread + p * kThreads;
      if (pack >= packs) continue;
      float g[N];
      float x[N];
      float w[N];
      unpack(data[pack], g);
      unpack(data[packs + pack], x);
      unpack(weight[p], w);
#pragma unroll
      for (int i = 0; i < N; ++i) {
        const float product = g[i] * x[i];
        grad_weight[p][i] = fmaf(product, rstd, grad_weight[p][i]);
        projection = fmaf(product, w[i], projection);
      }
    }
    projection = block_sum<kThreads>(projection, parts[buffer]) / static_cast<float>(args.hidden);
    const float factor = rstd * rstd * projection;
#pragma unroll
    for (int p = 0; p < kPacks; ++p) {
      const int pack = thread + p * kThreads;
      if (pack >= packs) continue;
      float g[N];
      float x[N];
      float w[N];
      float dx[N];
      unpack(data[pack], g);
      unpack(data[packs + pack], x);
      unpack(weight[p], w);
#pragma unroll
      for (int i = 0; i < N; ++i) dx[i] = rstd * (w[i] * g[i] - x[i] * factor);
      if constexpr (kResidual) {
        float residual[N];
        unpack(data[2 * packs + pack], residual);
#pragma unroll
        for (int i = 0; i < N; ++i) dx[i] += residual[i];
      }
      store<T, N>(args.grad_input + row * args.hidden + pack * N, dx);
    }
    stage = stage == kStages - 1 ? 0 : stage + 1;
  }
  let_next_kernel_start();
#pragma unroll
  for (int p = 0; p < kPacks; ++p) {
    const int pack = thread + p * kThreads;
    if (pack < packs) {
      store<float, N>(args.partial + static_cast<std::int64_t>(blockIdx.x) * args.hidden + pack * N, grad_weight[p]);
    }
  }
}

constexpr int kAnyThreads = 256;

/// Any hidden size and alignment: element by element; the block's partial sums live in memory.
template <typename T>
__global__ void __launch_bounds__(kAnyThreads) any_rows_kernel(const Rows<T> args) {
  __shared__ float parts[2][kAnyThreads / 32];
  float* partial = args.partial + static_cast<std::int64_t>(blockIdx.x) * args.hidden;
  const int thread = static_cast<int>(threadIdx.x);
  for (int i = thread; i < args.hidden; i += kAnyThreads) partial[i] = 0.0F;
  int buffer = 0;
  for (std::int64_t row = blockIdx.x; row < args.rows; row += gridDim.x, buffer ^= 1) {
    const std::int64_t offset = row * args.hidden;
    const float rstd = args.rstd[row];
    float projection = 0.0F;
    for (int i = thread; i < args.hidden; i += kAnyThreads) {
      const float product = to_float(args.grad_output[offset + i]) * to_float(args.input[offset + i]);
      partial[i] = fmaf(product, rstd, partial[i]);
      projection = fmaf(product, to_float(args.weight[i]), projection);
    }
    projection = block_sum<kAnyThreads>(projection, parts[buffer]) / static_cast<float>(args.hidden);
    const float factor = rstd * rstd * projection;
    for (int i = thread; i < args.hidden; i += kAnyThreads) {
      float dx = rstd * (to_float(args.weight[i]) * to_float(args.grad_output[offset + i]) -
                         to_float(args.input[offset + i]) * factor);
      if (args.grad_residual != nullptr) dx += to_float(args.grad_residual[offset + i]);
      args.grad_input[offset + i] = from_float<T>(dx);
    }
  }
}

constexpr int kStrata = 32;
constexpr int kAhead = 16;  // partial sums that a thread reads at once: of as many blocks as there are at 4,096 columns

/// grad_weight (+)= the partial sums: 32 strata of blocks, each added in order, then the strata in order.
template <typename D>
__global__ void __launch_bounds__(32 * kStrata)
    add_partials_kernel(const float* partial, int blocks, int hidden, D* grad_weight, bool accumulate) {
  __shared__ float sums[kStrata][33];
  wait_for_earlier_kernel();
  const int column = static_cast<int>(blockIdx.x) * 32 + static_cast<int>(threadIdx.x);
  float total = 0.0F;
  if (column < hidden) {
    for (int first = static_cast<int>(threadIdx.y); first < blocks; first += kAhead * kStrata) {
      float ahead[kAhead];
#pragma unroll
      for (int a = 0; a < kAhead; ++a) {
        const int b = first + a * kStrata;
        ahead[a] = b < blocks ? partial[static_cast<std::int64_t>(b) * hidden + column] : 0.0F;
      }
#pragma unroll
      for (int a = 0; a < kAhead; ++a) {
        if (first + a * kStrata < blocks) total += ahead[a];
      }
    }
  }
  sums[threadIdx.y][threadIdx.x] = total;
  __syncthreads();
  if (threadIdx.y != 0 || column >= hidden) return;
  total = 0.0F;
#pragma unroll
  for (int s = 0; s < kStrata; ++s) total += sums[s][threadIdx.x];
  if (accumulate) total += to_float(grad_weight[column]);
  grad_weight[column] = from_float<D>(total);
}

template <typename T, int kThreads, int kPacks, int kStages>
void launch_rows(const Rows<T>& rows, unsigned blocks, const Launch& launch) {
  const auto kernel = rows.grad_residual != nullptr ? rows_kernel<T, kThreads, kPacks, kStages, true>
                                                    : rows_kernel<T, kThreads, kPacks, kStages, false>;
  const std::size_t shared = stage_bytes(rows, kStages);
  LLAMA_ZERO_CUDA(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared)));
  kernel<<<blocks, kThreads, shared, launch.stream>>>(rows);
}

template <typename T>
void walk_rows(const Rows<T>& rows, unsigned blocks, const Launch& launch) {
  const int packs = rows.hidden / kPackOf<T>;
  const bool vectorised = rows.hidden % kPackOf<T> == 0 &&
                          aligned16(rows.grad_output, rows.input, rows.weight, rows.grad_residual, rows.grad_input);
  const auto fits = [&](int stages) { return stage_bytes(rows, stages) + 1024 <= launch.shared_memory_block; };
  if (vectorised && packs <= 128 && fits(3)) return launch_rows<T, 128, 1, 3>(rows, blocks, launch);
  if (vectorised && packs <= 256 && fits(3)) return launch_rows<T, 256, 1, 3>(rows, blocks, launch);
  if (vectorised && packs <= 512 && rows.grad_residual == nullptr && fits(3)) {
    return launch_rows<T, 256, 2, 3>(rows, blocks, launch);  // shared memory holds three such blocks
  }
  if (vectorised && packs <= 512 && fits(3)) return launch_rows<T, 512, 1, 3>(rows, blocks, launch);
  if (vectorised && packs <= 1024 && fits(3)) return launch_rows<T, 512, 2, 3>(rows, blocks, launch);
  if (vectorised && packs <= 2048 && fits(2)) return launch_rows<T, 1024, 2, 2>(rows, blocks, launch);
  any_rows_kernel<T><<<blocks, kAnyThreads, 0, launch.stream>>>(rows);
}

}  // namespace

std::size_t workspace_bytes(const RmsNormBackward& args) {
  return Scratch::bytes<float>(
      row_blocks(args.tokens_count, args.hidden_size, !args.grad_residual.empty(), kMostMultiprocessors) *
      args.hidden_size);
}

void run(const RmsNormBackward& args, const Launch& launch) {
  Scratch scratch(kOp, launch.workspace, workspace_bytes(args));
  const auto blocks = static_cast<unsigned>(
      row_blocks(args.tokens_count, args.hidden_size, !args.grad_residual.empty(), launch.multiprocessors));
  const int hidden = static_cast<int>(args.hidden_size);
  auto* partial = scratch.take<float>(static_cast<std::int64_t>(blocks) * hidden);
  if (blocks > 0) {
    with_storage(kOp, args.input.dtype(), [&]<typename T>(T) {
      const Rows<T> rows{pointer<T>(args.grad_output),
                         pointer<T>(args.input),
                         pointer<T>(args.weight),
                         pointer<float>(args.rstd),
                         pointer<T>(args.grad_residual),
                         pointer<T>(args.grad_input),
                         partial,
                         args.tokens_count,
                         hidden};
      walk_rows(rows, blocks, launch);
    });
  }
  with_storage(kOp, args.grad_weight.dtype(), [&]<typename D>(D) {
    launch_early(add_partials_kernel<D>, static_cast<unsigned>(ceil_div(hidden, 32)), dim3(32, kStrata), launch,
                 partial, static_cast<int>(blocks), hidden, pointer<D>(args.grad_weight), args.accumulate_weight);
  });
  check_launch(kOp);
}

}  // namespace llama_zero::cuda
