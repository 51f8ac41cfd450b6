#include "tests/gpu/gpu_test.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace llama_zero::test {

bool gpu_ready() {
  static const bool ready = [] {
    std::string why_not;
    const bool available = cuda_available(&why_not);
    if (!available) std::printf("skipped: no CUDA device (%s)\n", why_not.c_str());
    return available;
  }();
  return ready;
}

bool small_sizes() {
  static const bool small = std::getenv("LLAMA_ZERO_TEST_SMALL") != nullptr;
  return small;
}

std::int64_t sized(std::int64_t size, std::int64_t small) { return small_sizes() ? std::min(size, small) : size; }

Gpu& Gpu::get() {
  // Never destroyed: the CUDA runtime may be gone before static objects are.
  static Gpu* const gpu = [] {
    constexpr std::int64_t kWorkspaceBytes = std::int64_t{512} << 20U;
    auto* g = new Gpu;
    g->device = make_cuda_device(0);
    g->stream = g->device->create_stream("test");
    g->workspace = View(g->device->allocate(kWorkspaceBytes), kWorkspaceBytes, DType::kU8);
    const auto with = [&](CudaAttention attention) {
      auto ops = make_cuda_ops(*g->device, {.attention = attention, .gemm_algorithms = {}});
      ops->set_workspace(g->workspace);
      return ops;
    };
    g->ops = with(CudaAttention::kAuto);
    g->plain_ops = with(CudaAttention::kPlain);
    g->flash_ops = with(CudaAttention::kFlash);
    if (cudnn_status().usable) g->cudnn_ops = with(CudaAttention::kCudnn);
    return g;
  }();
  return *gpu;
}

namespace {
constexpr std::size_t kGuard = 512;
constexpr unsigned char kGuardByte = 0x5a;
}  // namespace

GpuBuffer::GpuBuffer(DType dtype, std::int64_t numel, std::int64_t shift) {
  const std::size_t offset = kGuard + static_cast<std::size_t>(shift) * size_of(dtype);
  bytes_ = offset + static_cast<std::size_t>(numel) * size_of(dtype) + kGuard;
  Gpu& gpu = Gpu::get();
  base_ = gpu.device->allocate(bytes_);
  view_ = View(base_ + offset, numel, dtype);
  gpu.device->fill_bytes(View(base_, static_cast<std::int64_t>(bytes_), DType::kU8), kGuardByte, *gpu.stream);
}

GpuBuffer::~GpuBuffer() {
  if (base_ != nullptr) Gpu::get().device->deallocate(base_, bytes_);
}

void GpuBuffer::upload(ConstView host) const {
  Gpu& gpu = Gpu::get();
  gpu.device->copy(host, view_, *gpu.stream);
  gpu.stream->synchronize();
}

void GpuBuffer::download(View host) const {
  Gpu& gpu = Gpu::get();
  gpu.device->copy(view_, host, *gpu.stream);
  gpu.stream->synchronize();
}

void GpuBuffer::check_guards() const {
  Gpu& gpu = Gpu::get();
  const auto before = static_cast<std::int64_t>(view_.raw() - base_);
  const std::int64_t after = static_cast<std::int64_t>(bytes_) - before - static_cast<std::int64_t>(view_.bytes());
  std::vector<unsigned char> guards(static_cast<std::size_t>(before + after));
  const auto host = View::of(std::span<unsigned char>(guards));
  gpu.device->copy(View(base_, before, DType::kU8), host.slice(0, before), *gpu.stream);
  gpu.device->copy(View(view_.raw() + view_.bytes(), after, DType::kU8), host.slice(before, after), *gpu.stream);
  gpu.stream->synchronize();
  const bool untouched =
      std::all_of(guards.begin(), guards.end(), [](unsigned char byte) { return byte == kGuardByte; });
  CHECK_MESSAGE(untouched, "bytes outside the tensor were written");
}

void Pair::check_close(const char* what, double relative, double absolute) const {
  const DType dtype = cpu.dtype();
  const double step = dtype == DType::kI32 || dtype == DType::kU8 ? 0.0 : epsilon_of(dtype);
  double worst = 0.0;
  std::int64_t where = -1;
  for (std::int64_t i = 0; i < cpu.numel(); ++i) {
    const double want = cpu[i];
    const double allowed = (relative + step) * std::fabs(want) + absolute + 2.0 * smallest_half_step(dtype);
    const double ratio = std::fabs(gpu[i] - want) / allowed;
    if (!(ratio <= worst)) {  // true for NaN
      worst = ratio;
      where = i;
    }
  }
  const std::string observed =
      fmt::format("{} {}: worst difference is {:.3f} of the bound, at {}: CPU {}, GPU {}", what, name_of(dtype), worst,
                  where, where < 0 ? 0.0 : cpu[where], where < 0 ? 0.0 : gpu[where]);
  INFO(observed);
  CHECK(worst <= 1.0);
}

void Pair::check_same_bits(const char* what) const {
  std::int64_t different = 0;
  std::int64_t where = -1;
  if (!(cpu == gpu)) {
    for (std::int64_t i = 0; i < cpu.numel(); ++i) {
      const double a = cpu[i];
      const double b = gpu[i];
      if (std::memcmp(&a, &b, sizeof(a)) != 0) {
        ++different;
        where = i;
      }
    }
  }
  const std::string observed =
      fmt::format("{} {}: {} of {} elements differ, the last at {}: CPU {}, GPU {}", what, name_of(cpu.dtype()),
                  different, cpu.numel(), where, where < 0 ? 0.0 : cpu[where], where < 0 ? 0.0 : gpu[where]);
  INFO(observed);
  CHECK(cpu == gpu);
}

std::vector<std::int32_t> random_ints(std::int64_t count, std::int64_t bound, std::uint64_t seed) {
  const CounterRng rng(seed, 7);
  std::vector<std::int32_t> values;
  for (std::int64_t i = 0; i < count; ++i) {
    values.push_back(
        static_cast<std::int32_t>(rng.below(static_cast<std::uint64_t>(i), static_cast<std::uint64_t>(bound))));
  }
  return values;
}

}  // namespace llama_zero::test
