// Runs an op on the CPU backend and on the GPU with the same tensors, and compares.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "core/cuda/cuda_device.h"
#include "kernels/cuda/cuda_ops.h"
#include "tests/unit/kernels/support.h"

namespace llama_zero::test {

/// Whether a GPU can be used; the first call without one prints "skipped: no CUDA device (<why>)".
bool gpu_ready();

/// A test case that counts as skipped without a GPU.
#define GPU_TEST_CASE(name) TEST_CASE(name* doctest::skip(!::llama_zero::test::gpu_ready()))

/// `size`, or `small` where LLAMA_ZERO_TEST_SMALL is set: scripts/sanitize_gpu sets it, since compute-sanitizer takes
/// minutes for what else takes milliseconds. The smaller size reaches the same kernels.
std::int64_t sized(std::int64_t size, std::int64_t small);
bool small_sizes();

/// The device, a stream and a workspace, made once for all tests.
struct Gpu {
  std::unique_ptr<Device> device;
  std::unique_ptr<Stream> stream;
  std::unique_ptr<Ops> ops;        ///< CudaAttention::kAuto
  std::unique_ptr<Ops> plain_ops;  ///< kPlain
  std::unique_ptr<Ops> flash_ops;  ///< kFlash
  std::unique_ptr<Ops> cudnn_ops;  ///< kCudnn; null where cudnn_status() is not usable
  View workspace;
  static Gpu& get();
};

/// Device memory with guard bytes on both sides, whose change is reported by check_guards().
class GpuBuffer {
 public:
  /// `shift` elements off a 256-byte boundary.
  GpuBuffer(DType dtype, std::int64_t numel, std::int64_t shift);
  ~GpuBuffer();
  GpuBuffer(const GpuBuffer&) = delete;
  GpuBuffer& operator=(const GpuBuffer&) = delete;

  View view() const { return view_; }
  void upload(ConstView host) const;
  void download(View host) const;
  void check_guards() const;

 private:
  std::byte* base_;
  std::size_t bytes_;
  View view_;
};

/// One tensor on both sides.
struct Pair {
  Tensor initial;
  Tensor cpu;
  Tensor gpu;
  std::unique_ptr<GpuBuffer> buffer;
  /// |cpu - gpu| <= relative * |cpu| + absolute + one step of the dtype (both round, maybe to different neighbours).
  void check_close(const char* what, double relative, double absolute) const;
  void check_same_bits(const char* what) const;
};

/// The tensors of one call. run(op) calls op(side, ops, stream) once on the CPU and twice on the GPU, where side(pair)
/// is the tensor's view there; the GPU's two results must have the same bits, and bytes around tensors must not change.
class Case {
 public:
  /// Floating tensors lie `shift` elements off their natural 256-byte boundary on the GPU (0: aligned).
  explicit Case(std::int64_t shift = 0) : shift_(shift) {}

  Pair& tensor(Tensor initial) {
    Pair pair;
    pair.buffer =
        std::make_unique<GpuBuffer>(initial.dtype(), initial.numel(), is_floating(initial.dtype()) ? shift_ : 0);
    pair.initial = std::move(initial);
    return pairs_.emplace_back(std::move(pair));
  }
  Pair& random(DType dtype, std::int64_t numel, double scale = 1.0) {
    return tensor(Tensor::random(dtype, numel, ++seed_, scale));
  }
  /// NaN everywhere: an output.
  Pair& output(DType dtype, std::int64_t numel) { return tensor(Tensor(dtype, numel)); }
  Pair& ints(const std::vector<std::int32_t>& values) { return tensor(Tensor::ints(values)); }
  template <typename T>
  Pair& plain_data(const std::vector<T>& values) {
    Tensor t(DType::kU8, static_cast<std::int64_t>(values.size() * sizeof(T)));
    std::memcpy(t.view().raw(), values.data(), values.size() * sizeof(T));
    return tensor(std::move(t));
  }

  template <typename Op>
  void run(const Op& op, Ops* gpu_ops = nullptr) {
    for (Pair& pair : pairs_) pair.cpu = pair.initial;
    cpu_.ops().set_workspace(cpu_workspace());
    op([](Pair& pair) { return pair.cpu.view(); }, cpu_.ops(), cpu_.stream());
    run_gpu(op, gpu_ops);
    std::vector<Tensor> first;
    for (Pair& pair : pairs_) first.push_back(pair.gpu);
    run_gpu(op, gpu_ops);
    for (std::size_t i = 0; i < pairs_.size(); ++i) {
      INFO("tensor ", i, " of the case");
      CHECK_MESSAGE(first[i] == pairs_[i].gpu, "two GPU runs gave different bits");
    }
  }

 private:
  /// One for all cases: touching that much new memory for each would take most of the time.
  static View cpu_workspace() {
    static std::vector<std::byte> memory(std::size_t{64} << 20U);
    return {memory.data(), static_cast<std::int64_t>(memory.size()), DType::kU8};
  }

  template <typename Op>
  void run_gpu(const Op& op, Ops* gpu_ops) {
    Gpu& gpu = Gpu::get();
    for (Pair& pair : pairs_) pair.buffer->upload(pair.initial);
    gpu.device->fill_bytes(gpu.workspace, 0xff, *gpu.stream);
    op([](Pair& pair) { return pair.buffer->view(); }, gpu_ops != nullptr ? *gpu_ops : *gpu.ops, *gpu.stream);
    gpu.stream->synchronize();
    for (Pair& pair : pairs_) {
      pair.gpu = pair.initial;
      pair.buffer->download(pair.gpu.view());
      pair.buffer->check_guards();
    }
  }

  std::int64_t shift_;
  std::uint64_t seed_ = 0;
  std::deque<Pair> pairs_;
  Cpu cpu_{2};
};

/// Documents on both sides: `on(side)` is the struct for the side's views.
struct PairedDocuments {
  PairedDocuments(Case& c, const DocumentSet& set) : documents(set), cu(c.ints(set.cu)) {}
  template <typename Side>
  Documents on(const Side& side) {
    return {side(cu), documents.cu, documents.longest, documents.attended};
  }
  const DocumentSet& documents;
  Pair& cu;
};

/// Token ids or positions in [0, bound), all different from run to run of `seed` only.
std::vector<std::int32_t> random_ints(std::int64_t count, std::int64_t bound, std::uint64_t seed);

/// Error bound of an fp32 sum of `terms` products whose absolute values add up to `magnitude`, on both sides together:
/// 2 * lambda * sqrt(terms) * u * magnitude with lambda = 4 (Higham and Mary, "A New Approach to Probabilistic Rounding
/// Error Analysis", 2019, theorem 2.4; fails with probability below 1e-3 in the worst case, and data are fixed here).
inline double sum_bound(std::int64_t terms, double magnitude) {
  return 8.0 * std::sqrt(static_cast<double>(std::max<std::int64_t>(terms, 1))) * kU32 * magnitude;
}

}  // namespace llama_zero::test
