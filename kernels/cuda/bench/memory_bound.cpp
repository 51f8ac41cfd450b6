// Times the memory-bound ops of the CUDA backend at the shapes of a 7B model and prints each one's share of the copy
// bandwidth measured in the same run. Bytes: each input read once, each output written once.
#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <functional>
#include <string>
#include <vector>

#include "core/arena.h"
#include "core/cuda/cuda_check.h"
#include "core/cuda/cuda_device.h"
#include "core/rng.h"
#include "kernels/cuda/cuda_ops.h"

namespace llama_zero {
namespace {

constexpr std::int64_t kTokens = 8192, kHidden = 4096, kIntermediate = 11008, kVocab = 32000, kLogitRows = 2048;
constexpr std::int64_t kHeads = 32, kHeadDim = 128;
constexpr std::int64_t kFlat = std::int64_t{1} << 28U;  // elements of the flat ops
constexpr std::int64_t kRanks = 4;
constexpr int kSamples = 40;
constexpr int kWarmUps = 5;

struct Timing {
  double median_seconds;
  double spread;  ///< (90th - 10th percentile) / median
};

class Bench {
 public:
  Bench()
      : device_(make_cuda_device(0)),
        stream_(device_->create_stream("bench")),
        ops_(make_cuda_ops(*device_)),
        arena_(*device_, std::size_t{24} << 30U, "bench") {
    flush_ = arena_.allocate("flush", DType::kU8, std::int64_t{256} << 20U);
    ops_->set_workspace(arena_.allocate("workspace", DType::kU8, std::int64_t{64} << 20U));
    LLAMA_ZERO_CUDA(cudaEventCreate(&start_));
    LLAMA_ZERO_CUDA(cudaEventCreate(&stop_));
  }
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;
  ~Bench() {
    log_cuda_error(cudaEventDestroy(start_), "cudaEventDestroy");
    log_cuda_error(cudaEventDestroy(stop_), "cudaEventDestroy");
  }

  Device& device() { return *device_; }
  Ops& ops() { return *ops_; }
  Stream& stream() { return *stream_; }
  Arena& arena() { return arena_; }

  View empty(DType dtype, std::int64_t count) { return arena_.allocate("tensors", dtype, count); }

  /// Normal numbers: a block of 2^20 made on the host, repeated.
  View random(DType dtype, std::int64_t count, double scale = 1.0) {
    const std::int64_t block = std::min<std::int64_t>(count, std::int64_t{1} << 20U);
    std::vector<float> values(static_cast<std::size_t>(block));
    const CounterRng rng(++seed_, 1);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(scale * rng.normal(i));
    const View view = empty(dtype, count);
    const Arena::Scope scope(arena_);
    const View staged = arena_.allocate("staging", DType::kF32, block);
    device_->copy(ConstView::of(std::span<const float>(values)), staged, *stream_);
    for (std::int64_t first = 0; first < count; first += block) {
      const std::int64_t here = std::min(block, count - first);
      ops_->cast({staged.slice(0, here), view.slice(first, here), 1.0}, *stream_);
    }
    stream_->synchronize();
    return view;
  }

  View ints(std::int64_t count, const std::function<std::int64_t(std::int64_t)>& value) {
    std::vector<std::int32_t> values;
    for (std::int64_t i = 0; i < count; ++i) values.push_back(static_cast<std::int32_t>(value(i)));
    const View view = empty(DType::kI32, count);
    device_->copy(ConstView::of(std::span<const std::int32_t>(values)), view, *stream_);
    stream_->synchronize();
    return view;
  }

  /// The L2 cache is overwritten before each sample.
  Timing time(const std::function<void()>& work) {
    std::vector<double> seconds;
    for (int i = 0; i < kWarmUps + kSamples; ++i) {
      device_->fill_bytes(flush_, static_cast<unsigned char>(i), *stream_);
      auto* handle = static_cast<cudaStream_t>(stream_->handle());
      LLAMA_ZERO_CUDA(cudaEventRecord(start_, handle));
      work();
      LLAMA_ZERO_CUDA(cudaEventRecord(stop_, handle));
      LLAMA_ZERO_CUDA(cudaEventSynchronize(stop_));
      float milliseconds = 0.0F;
      LLAMA_ZERO_CUDA(cudaEventElapsedTime(&milliseconds, start_, stop_));
      if (i >= kWarmUps) seconds.push_back(static_cast<double>(milliseconds) * 1e-3);
    }
    std::sort(seconds.begin(), seconds.end());
    const double median = seconds[seconds.size() / 2];
    return {median, (seconds[seconds.size() * 9 / 10] - seconds[seconds.size() / 10]) / median};
  }

  void measure_copy() {
    const Arena::Scope scope(arena_);
    const View source = random(DType::kF16, kFlat);
    const View destination = empty(DType::kF16, kFlat);
    const Timing t = time([&] { device_->copy(source, destination, *stream_); });
    copy_rate_ = 2.0 * static_cast<double>(source.bytes()) / t.median_seconds;
    fmt::print("{}\ncopy of {} MiB: {:.1f} us, spread {:.1f} %, {:.0f} GB/s read + write\n\n", device_->description(),
               source.bytes() >> 20U, t.median_seconds * 1e6, t.spread * 100.0, copy_rate_ * 1e-9);
    fmt::print("{:<44} {:>9} {:>8} {:>8} {:>7}\n", "op", "us", "GB/s", "of copy", "spread");
  }

  /// `moved`: the tensors, one entry for each time that one is read or written.
  void report(const std::string& name, const std::vector<ConstView>& moved, const std::function<void()>& work) {
    double bytes = 0.0;
    for (const ConstView& view : moved) bytes += static_cast<double>(view.bytes());
    const Timing t = time(work);
    const double rate = bytes / t.median_seconds;
    fmt::print("{:<44} {:>9.1f} {:>8.0f} {:>7.1f}% {:>6.1f}%\n", name, t.median_seconds * 1e6, rate * 1e-9,
               100.0 * rate / copy_rate_, t.spread * 100.0);
    std::fflush(stdout);
  }

 private:
  std::unique_ptr<Device> device_;
  std::unique_ptr<Stream> stream_;
  std::unique_ptr<Ops> ops_;
  Arena arena_;
  View flush_;
  cudaEvent_t start_ = nullptr;
  cudaEvent_t stop_ = nullptr;
  double copy_rate_ = 1.0;
  std::uint64_t seed_ = 0;
};

void bench_embedding(Bench& b, DType dtype) {
  const Arena::Scope scope(b.arena());
  const CounterRng rng(1, 2);
  // Squares of uniform numbers: some tokens are much more frequent than others, as in text.
  const View tokens = b.ints(kTokens, [&](std::int64_t i) {
    const double u = rng.uniform(static_cast<std::uint64_t>(i));
    return static_cast<std::int64_t>(u * u * u * static_cast<double>(kVocab));
  });
  const View table = b.random(dtype, kVocab * kHidden);
  const View rows = b.random(dtype, kTokens * kHidden);
  b.report("embedding_forward", {rows, rows}, [&] {
    b.ops().embedding_forward({kTokens, kHidden, kVocab, tokens, table, rows}, b.stream());
  });
  b.report("embedding_backward", {rows, table}, [&] {
    b.ops().embedding_backward({kTokens, kHidden, kVocab, tokens, rows, table, false}, b.stream());
  });
}

void bench_rmsnorm(Bench& b, DType dtype) {
  const Arena::Scope scope(b.arena());
  const View x = b.random(dtype, kTokens * kHidden);
  const View residual = b.random(dtype, kTokens * kHidden);
  const View weight = b.random(dtype, kHidden);
  const View sum = b.empty(dtype, kTokens * kHidden);
  const View y = b.empty(dtype, kTokens * kHidden);
  const View rstd = b.empty(DType::kF32, kTokens);
  const View grad_weight = b.empty(dtype, kHidden);
  b.report("rmsnorm_forward + residual", {x, residual, sum, y}, [&] {
    b.ops().rmsnorm_forward({kTokens, kHidden, 1e-5, x, residual, weight, sum, y, rstd}, b.stream());
  });
  b.report("rmsnorm_forward", {x, y}, [&] {
    b.ops().rmsnorm_forward({kTokens, kHidden, 1e-5, x, {}, weight, {}, y, rstd}, b.stream());
  });
  b.report("rmsnorm_backward + residual", {x, residual, sum, y}, [&] {
    b.ops().rmsnorm_backward({kTokens, kHidden, x, residual, weight, rstd, sum, y, grad_weight, false}, b.stream());
  });
  b.report("rmsnorm_backward", {x, residual, y}, [&] {
    b.ops().rmsnorm_backward({kTokens, kHidden, x, residual, weight, rstd, {}, y, grad_weight, false}, b.stream());
  });
}

void bench_rope_and_swiglu(Bench& b, DType dtype) {
  const Arena::Scope scope(b.arena());
  constexpr std::int64_t kPositions = 4096;
  const View qkv = b.random(dtype, kTokens * 3 * kHidden);
  const View rotated = qkv.slice(0, kTokens * 2 * kHidden);
  const View positions = b.ints(kTokens, [](std::int64_t i) { return i % kPositions; });
  const View table = b.random(DType::kF32, kPositions * kHeadDim, 0.5);
  b.report("rope", {rotated, rotated}, [&] {
    b.ops().rope({kTokens, kHeads, kHeads, kHeadDim, kPositions, qkv, positions, table, false}, b.stream());
  });
  const View gate_up = b.random(dtype, kTokens * 2 * kIntermediate);
  const View grad_gate_up = b.empty(dtype, kTokens * 2 * kIntermediate);
  const View y = b.random(dtype, kTokens * kIntermediate);
  b.report("swiglu_backward", {gate_up, y, grad_gate_up}, [&] {
    b.ops().swiglu_backward({kTokens, kIntermediate, y, gate_up, grad_gate_up}, b.stream());
  });
  b.report("swiglu_forward", {gate_up, y}, [&] {
    b.ops().swiglu_forward({kTokens, kIntermediate, gate_up, y}, b.stream());
  });
}

void bench_cross_entropy(Bench& b, DType dtype) {
  const Arena::Scope scope(b.arena());
  const View logits = b.random(dtype, kLogitRows * kVocab, 2.0);
  const View targets = b.ints(kLogitRows, [](std::int64_t i) { return i * 7919 % kVocab; });
  const View losses = b.empty(DType::kF32, kTokens);
  b.report("cross_entropy, forward only", {logits}, [&] {
    b.ops().cross_entropy({kLogitRows, kVocab, logits, targets, losses.slice(0, kLogitRows), 1.0, {}, true},
                          b.stream());
  });
  b.report("cross_entropy", {logits, logits}, [&] {
    b.ops().cross_entropy({kLogitRows, kVocab, logits, targets, losses.slice(0, kLogitRows), 1.0, {}, false},
                          b.stream());
  });
  const View total = b.empty(DType::kF64, 1);
  b.report("sum_losses", {losses}, [&] { b.ops().sum_losses({losses, total, false}, b.stream()); });
}

void bench_flat(Bench& b, DType dtype) {
  const Arena::Scope scope(b.arena());
  const View x = b.random(dtype, kFlat);
  const View wide = b.random(DType::kF32, kFlat, 0.01);
  const View y = b.random(dtype, kFlat);
  const View norm = b.empty(DType::kF64, 2);
  b.report("cast to fp32", {x, wide}, [&] { b.ops().cast({x, wide, 0.5}, b.stream()); });
  b.report("cast from fp32", {wide, y}, [&] { b.ops().cast({wide, y, 0.5}, b.stream()); });
  b.report("add", {x, y, y}, [&] { b.ops().add({x, y}, b.stream()); });
  b.report("fill", {y}, [&] { b.ops().fill({y, 0.5}, b.stream()); });
  const View part = y.slice(0, kFlat / kRanks);
  b.report("reduce_pieces, 4 ranks", {x, part}, [&] {
    b.ops().reduce_pieces({kRanks, x, 0.25, part, false}, b.stream());
  });
  b.report("sum_of_squares, 2^28 elements", {x}, [&] { b.ops().sum_of_squares({x, norm, false}, b.stream()); });
  const View tenth = x.slice(0, kFlat / 16);
  b.report("sum_of_squares, 2^24 elements", {tenth}, [&] { b.ops().sum_of_squares({tenth, norm, false}, b.stream()); });
}

void bench_adamw(Bench& b, DType dtype) {
  const Arena::Scope scope(b.arena());
  const View master = b.random(DType::kF32, kFlat, 0.02);
  const View m = b.random(DType::kF32, kFlat, 1e-3);
  const View v = b.empty(DType::kF32, kFlat);
  b.ops().fill({v, 1e-6}, b.stream());
  const View gradient = b.random(dtype, kFlat);
  const View weights = b.empty(dtype, kFlat);
  StepState host;
  host.lr = 1e-6F;
  const View state = b.empty(DType::kU8, sizeof(StepState));
  b.device().copy(ConstView(reinterpret_cast<const std::byte*>(&host), sizeof(StepState), DType::kU8), state,
                  b.stream());
  b.report("adamw, 2^28 elements", {master, master, m, m, v, v, gradient, weights}, [&] {
    b.ops().adamw({master, m, v, gradient, weights, state, 1e-8, 0.01}, b.stream());
  });
}

void bench_copies_on_host(Bench& b) {
  constexpr std::int64_t kBytes = std::int64_t{1} << 30U;
  const Arena::Scope scope(b.arena());
  const View on_gpu = b.empty(DType::kU8, kBytes);
  std::byte* memory = allocate_pinned(kBytes);
  const View host(memory, kBytes, DType::kU8);
  b.report("copy from page-locked host, 1 GiB", {host}, [&] { b.device().copy(host, on_gpu, b.stream()); });
  b.report("copy to page-locked host, 1 GiB", {host}, [&] { b.device().copy(on_gpu, host, b.stream()); });
  free_pinned(memory);
}

void run(DType dtype) {
  Bench bench;
  fmt::print("storage {}, T={} H={} I={} V={} (chunks of {} rows), {} heads of {}\n", name_of(dtype), kTokens, kHidden,
             kIntermediate, kVocab, kLogitRows, kHeads, kHeadDim);
  bench.measure_copy();
  bench_embedding(bench, dtype);
  bench_rmsnorm(bench, dtype);
  bench_rope_and_swiglu(bench, dtype);
  bench_cross_entropy(bench, dtype);
  bench_flat(bench, dtype);
  bench_adamw(bench, dtype);
  bench_copies_on_host(bench);
}

}  // namespace
}  // namespace llama_zero

int main(int argc, char** argv) {
  try {
    const std::string name = argc > 1 ? argv[1] : "fp16";
    llama_zero::require(argc <= 2 && (name == "fp16" || name == "bf16"), "usage: cuda_bench [fp16|bf16]");
    llama_zero::run(name == "bf16" ? llama_zero::DType::kBF16 : llama_zero::DType::kF16);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "cuda_bench: %s\n", error.what());
    return 1;
  }
}
