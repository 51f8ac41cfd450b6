// Times attention on one GPU, forward and backward, in fp16: attention_bench auto|flash|cudnn. One JSON line a case.
// compare_attention.py runs it beside PyTorch.
//
// Cases: 16,384 tokens as documents of 512, 2048, 4096 and 8192 tokens, and 8,192 and 16,384 tokens of documents with
// the lengths of Alpaca rows (lognormal, mean about 200, 22 to 512). 32 heads of 128 and of 64, the last case with 8
// key-value heads. Times are medians of 30 with CUDA events after 3 warm-ups, on normal numbers. Before each sample 512
// MiB are cleared, which empties the L2 cache and lets the host run ahead, as it does in a training step.
#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/cuda/cuda_check.h"
#include "core/cuda/cuda_device.h"
#include "core/rng.h"
#include "kernels/cuda/cuda_ops.h"

namespace llama_zero {
namespace {

constexpr std::int64_t kHeads = 32;
constexpr std::size_t kRepeats = 30;
constexpr int kWarmUps = 3;
constexpr std::int64_t kClearedBytes = std::int64_t{512} << 20U;

struct BenchCase {
  std::string name;
  std::vector<std::int32_t> lengths;
  std::int64_t kv_heads = kHeads;
};

std::vector<std::int32_t> packed_lengths(std::int32_t tokens) {
  std::vector<std::int32_t> lengths;
  const CounterRng rng(11, 0);
  for (std::uint64_t i = 0; tokens > 0; ++i) {
    const double length = std::clamp(std::exp(5.27 + 0.55 * rng.normal(i)), 22.0, 512.0);
    lengths.push_back(std::min(tokens, static_cast<std::int32_t>(length)));
    tokens -= lengths.back();
  }
  return lengths;
}

std::vector<BenchCase> cases() {
  std::vector<BenchCase> all;
  for (const std::int32_t length : {512, 2048, 4096, 8192}) {
    const std::int32_t count = 16384 / length;
    all.push_back(
        {fmt::format("{} x {}", count, length), std::vector<std::int32_t>(static_cast<std::size_t>(count), length)});
  }
  all.push_back({"packed 8k", packed_lengths(8192)});
  all.push_back({"packed 16k", packed_lengths(16384)});
  all.push_back({"packed GQA", packed_lengths(16384), 8});
  return all;
}

class GpuBench {
 public:
  explicit GpuBench(CudaAttention attention)
      : device_(make_cuda_device(0)),
        stream_(device_->create_stream("bench")),
        ops_(make_cuda_ops(*device_, {.attention = attention, .gemm_algorithms = {}})) {}

  std::string description() const { return device_->description(); }

  void run(const BenchCase& bench, std::int64_t head_dim) {
    std::vector<std::int32_t> cu{0};
    double scores = 0.0;  // of one head, the masked half left out
    for (const std::int32_t length : bench.lengths) {
      cu.push_back(cu.back() + length);
      scores += 0.5 * static_cast<double>(length) * static_cast<double>(length);
    }
    const std::int64_t tokens = cu.back();
    const View qkv = random(tokens * (kHeads + 2 * bench.kv_heads) * head_dim, 1);
    const View grad_output = random(tokens * kHeads * head_dim, 2);
    const View output = empty(DType::kF16, tokens * kHeads * head_dim);
    const View grad_qkv = empty(DType::kF16, qkv.numel());
    const View log_sum_exp = empty(DType::kF32, tokens * kHeads);
    const Documents documents{upload(cu), cu, *std::max_element(bench.lengths.begin(), bench.lengths.end()), tokens};
    const double scale = 1.0 / std::sqrt(static_cast<double>(head_dim));
    const AttentionForward forward{tokens, kHeads,    bench.kv_heads, head_dim,   scale,
                                   qkv,    documents, output,         log_sum_exp};
    const AttentionBackward backward{tokens, kHeads, bench.kv_heads, head_dim,  scale,   grad_output,
                                     qkv,    output, log_sum_exp,    documents, grad_qkv};
    const auto workspace = std::max(ops_->workspace_bytes(forward), ops_->workspace_bytes(backward));
    ops_->set_workspace(empty(DType::kU8, static_cast<std::int64_t>(std::max<std::size_t>(workspace, 256))));
    const double flops = 4.0 * static_cast<double>(head_dim * kHeads) * scores;
    const double forward_ms = median_ms([&] { ops_->attention_forward(forward, *stream_); });
    const double backward_ms = median_ms([&] { ops_->attention_backward(backward, *stream_); });
    std::string lengths;
    for (const std::int32_t length : bench.lengths) lengths += (lengths.empty() ? "" : ", ") + std::to_string(length);
    fmt::print(
        "{{\"case\": \"{}\", \"heads\": {}, \"kv_heads\": {}, \"workspace\": {}, \"head_dim\": {}, \"flops\": {:.6e}, "
        "\"forward_ms\": {:.4f}, "
        "\"backward_ms\": {:.4f}, \"lengths\": [{}]}}\n",
        bench.name, kHeads, bench.kv_heads, workspace, head_dim, flops, forward_ms, backward_ms, lengths);
    std::fflush(stdout);
    for (const View& view : taken_) device_->deallocate(view.raw(), view.bytes());
    taken_.clear();
  }

 private:
  View empty(DType dtype, std::int64_t count) {
    taken_.emplace_back(device_->allocate(static_cast<std::size_t>(count) * size_of(dtype)), count, dtype);
    return taken_.back();
  }
  /// Normal numbers, of which a block is drawn and repeated.
  View random(std::int64_t count, std::uint64_t seed) {
    constexpr std::int64_t kDrawn = 1 << 20;
    const CounterRng rng(seed, 0);
    std::vector<Half> drawn;
    for (std::uint64_t i = 0; i < kDrawn; ++i) drawn.emplace_back(static_cast<float>(rng.normal(i)));
    const View view = empty(DType::kF16, count);
    for (std::int64_t first = 0; first < count; first += kDrawn) {
      const std::int64_t n = std::min(kDrawn, count - first);
      device_->copy(View::of(std::span<Half>(drawn)).slice(0, n), view.slice(first, n), *stream_);
    }
    stream_->synchronize();
    return view;
  }
  View upload(std::vector<std::int32_t>& values) {
    const View view = empty(DType::kI32, static_cast<std::int64_t>(values.size()));
    device_->copy(View::of(std::span<std::int32_t>(values)), view, *stream_);
    stream_->synchronize();
    return view;
  }
  double median_ms(const std::function<void()>& work) {
    auto* const stream = static_cast<cudaStream_t>(stream_->handle());
    for (int i = 0; i < kWarmUps; ++i) work();
    cudaEvent_t begin = nullptr;
    cudaEvent_t end = nullptr;
    LLAMA_ZERO_CUDA(cudaEventCreate(&begin));
    LLAMA_ZERO_CUDA(cudaEventCreate(&end));
    std::vector<float> times(kRepeats);
    for (float& time : times) {
      device_->fill_bytes(cleared_, 0, *stream_);
      LLAMA_ZERO_CUDA(cudaEventRecord(begin, stream));
      work();
      LLAMA_ZERO_CUDA(cudaEventRecord(end, stream));
      LLAMA_ZERO_CUDA(cudaEventSynchronize(end));
      LLAMA_ZERO_CUDA(cudaEventElapsedTime(&time, begin, end));
    }
    LLAMA_ZERO_CUDA(cudaEventDestroy(begin));
    LLAMA_ZERO_CUDA(cudaEventDestroy(end));
    std::sort(times.begin(), times.end());
    return static_cast<double>(times[kRepeats / 2]);
  }

  std::unique_ptr<Device> device_;
  std::unique_ptr<Stream> stream_;
  std::unique_ptr<Ops> ops_;
  View cleared_{device_->allocate(kClearedBytes), kClearedBytes, DType::kU8};
  std::vector<View> taken_;
};

}  // namespace
}  // namespace llama_zero

int main(int argc, char** argv) {
  using llama_zero::CudaAttention;
  const std::map<std::string, CudaAttention> choices = {
      {"auto", CudaAttention::kAuto}, {"flash", CudaAttention::kFlash}, {"cudnn", CudaAttention::kCudnn}};
  const auto choice = choices.find(argc == 2 ? argv[1] : "");
  if (choice == choices.end()) {
    fmt::print(stderr, "usage: attention_bench auto|flash|cudnn\n");
    return 2;
  }
  try {
    llama_zero::GpuBench bench(choice->second);
    fmt::print("# {}, {}\n", bench.description(), llama_zero::cudnn_status().text);
    for (const std::int64_t head_dim : {128, 64}) {
      for (const auto& bench_case : llama_zero::cases()) bench.run(bench_case, head_dim);
    }
  } catch (const std::exception& e) {
    fmt::print(stderr, "attention_bench: {}\n", e.what());
    return 1;
  }
  return 0;
}
