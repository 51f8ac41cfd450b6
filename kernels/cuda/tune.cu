#include "kernels/cuda/tune.h"

#include <cublasLt.h>

#include <algorithm>
#include <vector>

#include "core/cuda/cuda_device.h"
#include "core/rng.h"
#include "kernels/cuda/gemm.h"

namespace llama_zero {
namespace {

constexpr int kCandidates = 8;
constexpr int kTimedRuns = 5;
constexpr double kWorthwhile = 0.98;  // of the first candidate's time: below that is noise

/// The matrices of the largest product, filled with numbers near those of training.
class TuneBuffers {
 public:
  TuneBuffers(Device& device, Stream& stream, const std::vector<cuda::GemmProduct>& products) : device_(device) {
    std::int64_t a = 0;
    std::int64_t b = 0;
    std::int64_t c = 0;
    for (const auto& p : products) {
      a = std::max(a, p.m * p.k);
      b = std::max(b, p.n * p.k);
      c = std::max(c, p.m * p.n);
    }
    for (const std::int64_t numbers : {a, b, c}) fill(take(numbers * 4), stream);
    workspace = take(static_cast<std::int64_t>(cuda::kGemmWorkspaceBytes));
    matrices = {taken_[0].raw(), taken_[1].raw(), taken_[2].raw()};
    stream.synchronize();
  }
  ~TuneBuffers() {
    for (const View& view : taken_) device_.deallocate(view.raw(), view.bytes());
  }
  TuneBuffers(const TuneBuffers&) = delete;
  TuneBuffers& operator=(const TuneBuffers&) = delete;

  cuda::GemmMatrices matrices{};
  View workspace;

 private:
  View take(std::int64_t bytes) {
    return taken_.emplace_back(device_.allocate(static_cast<std::size_t>(bytes)), bytes, DType::kU8);
  }
  /// Bytes whose 16-bit words are both fp16 and bf16 numbers near one, of random mantissa and sign: a block, repeated.
  void fill(const View& view, Stream& stream) {
    if (block_.empty()) {
      const CounterRng rng(17, 0);
      for (std::uint64_t i = 0; i < (1U << 19U); ++i) {
        const auto bits = static_cast<std::uint16_t>(rng.below(i, 1U << 11U));
        block_.push_back(static_cast<std::uint16_t>(((bits & 0x400U) << 5U) | 0x3800U | (bits & 0x3ffU)));
      }
    }
    const View host(reinterpret_cast<std::byte*>(block_.data()), static_cast<std::int64_t>(2 * block_.size()),
                    DType::kU8);
    for (std::int64_t at = 0; at < static_cast<std::int64_t>(view.bytes());) {
      const std::int64_t here =
          std::min(static_cast<std::int64_t>(view.bytes()) - at, static_cast<std::int64_t>(host.bytes()));
      device_.copy(View(host.raw(), here, DType::kU8), view.slice(at, here), stream);
      at += here;
    }
  }

  Device& device_;
  std::vector<std::uint16_t> block_;
  std::vector<View> taken_;
};

/// Median of kTimedRuns, in milliseconds.
double time_of(cuda::Gemm& gemm, const cuda::GemmCall& call, const cuda::Launch& launch) {
  cudaEvent_t begin = nullptr;
  cudaEvent_t end = nullptr;
  LLAMA_ZERO_CUDA(cudaEventCreate(&begin));
  LLAMA_ZERO_CUDA(cudaEventCreate(&end));
  std::vector<float> times(kTimedRuns);
  gemm.run(call, launch);
  for (float& time : times) {
    LLAMA_ZERO_CUDA(cudaEventRecord(begin, launch.stream));
    gemm.run(call, launch);
    LLAMA_ZERO_CUDA(cudaEventRecord(end, launch.stream));
    LLAMA_ZERO_CUDA(cudaEventSynchronize(end));
    LLAMA_ZERO_CUDA(cudaEventElapsedTime(&time, begin, end));
  }
  LLAMA_ZERO_CUDA(cudaEventDestroy(begin));
  LLAMA_ZERO_CUDA(cudaEventDestroy(end));
  std::sort(times.begin(), times.end());
  return static_cast<double>(times[kTimedRuns / 2]);
}

std::string library_versions() {
  const std::size_t version = cublasLtGetVersion();
  return fmt::format("cuBLASLt {}.{}.{}, {}", version / 10000, version / 100 % 100, version % 100,
                     cudnn_status().usable ? cudnn_status().text : "no cuDNN");
}

std::string automatic_attention(const Device& device) {
  return cudnn_status().usable && cuda_properties(device).compute_capability >= 90 ? "cudnn" : "flash";
}

}  // namespace

void TuneTable::check_made_for(const Device& device, const std::string& source) const {
  require(gpu == device.description() && libraries == library_versions(),
          "{}: made on {} with {}, but this is {} with {}; remove it to tune anew", source, gpu, libraries,
          device.description(), library_versions());
}

TuneTable tune(Device& device, const Ops& sizing) {
  const CudaProperties properties = cuda_properties(device);
  make_current(properties);
  const std::vector<cuda::GemmProduct> products = cuda::sized_products(sizing);
  TuneTable table{device.description(), library_versions(), automatic_attention(device), {}};
  if (products.empty()) return table;
  const auto stream = device.create_stream("tune");
  const TuneBuffers buffers(device, *stream, products);
  const cuda::Launch launch{static_cast<cudaStream_t>(stream->handle()), buffers.workspace, properties.multiprocessors,
                            properties.shared_memory_block, properties.compute_capability};
  cuda::Gemm library({});
  for (const cuda::GemmProduct& product : products) {
    double best = 0.0;
    for (const cuda::GemmAlgorithm& candidate : library.candidates(product, kCandidates)) {
      cuda::Gemm gemm({{product.key(), candidate}});
      const double time = time_of(gemm, {"tune", product, buffers.matrices}, launch);
      if (best != 0.0 && time >= best * kWorthwhile) continue;
      best = time;
      table.gemm_algorithms[product.key()] = candidate;
    }
  }
  return table;
}

}  // namespace llama_zero
