// The CUDA device: memory, copies, order between streams, errors; and the backend's own refusals.
#include "core/arena.h"
#include "tests/gpu/gpu_test.h"

namespace llama_zero::test {
namespace {

TEST_CASE("cuda_available says why not, exactly when there is no usable GPU") {
  std::string why_not = "unset";
  if (cuda_available(&why_not)) {
    CHECK(why_not.empty());
    CHECK(cuda_device_count() > 0);
  } else {
    CHECK(!why_not.empty());
    CHECK(cuda_device_count() == 0);
    CHECK_THROWS_WITH_AS(make_cuda_device(0), doctest::Contains(why_not.c_str()), Error);
  }
}

TEST_CASE("sizing the CUDA backend needs no GPU, and its ops refuse to run") {
  const auto sizing = make_cuda_sizing_ops();
  EmbeddingBackward args{100, 8, 509, {}, {}, {}};
  CHECK(sizing->workspace_bytes(args) > 0);
  const auto cpu = make_cpu_device();
  const auto stream = cpu->create_stream("test");
  Tensor values(DType::kF32, 4);
  CHECK_THROWS_AS(sizing->fill({values.view(), 1.0}, *stream), Error);
}

GPU_TEST_CASE("memory goes to the GPU and back, within the GPU, and is counted by the driver") {
  const auto device = make_cuda_device(0);
  const auto stream = device->create_stream("test");
  CHECK(device->type() == DeviceType::kCuda);
  CHECK(!device->description().empty());
  const DeviceMemoryInfo before = device->memory_info();
  constexpr std::int64_t kCount = 64 << 20;
  std::byte* memory = device->allocate(2 * kCount);
  CHECK(reinterpret_cast<std::uintptr_t>(memory) % 256 == 0);
  const DeviceMemoryInfo during = device->memory_info();
  CHECK(before.total == during.total);
  CHECK(before.free - during.free >= 2 * static_cast<std::size_t>(kCount));
  const Tensor source = Tensor::random(DType::kF16, 1000, 1);
  Tensor result(DType::kF16, 1000);
  const View first(memory, 1000, DType::kF16);
  const View second(memory + kCount, 1000, DType::kF16);
  device->copy(source, first, *stream);
  device->copy(first, second, *stream);
  device->copy(second, result, *stream);
  stream->synchronize();
  CHECK(source == result);
  CHECK_THROWS_AS(device->copy(source, second.slice(0, 999), *stream), Error);
  device->deallocate(memory, 2 * kCount);
}

GPU_TEST_CASE("an event makes a second stream wait for the first") {
  const auto device = make_cuda_device(0);
  const auto producer = device->create_stream("producer");
  const auto consumer = device->create_stream("consumer");
  const auto ready = device->create_event();
  constexpr std::int64_t kBytes = 256 << 20;  // long enough to fill that a stream that does not wait reads old bytes
  std::byte* memory = device->allocate(kBytes);
  std::byte* host = allocate_pinned(1);
  const View all(memory, kBytes, DType::kU8);
  for (unsigned char value = 1; value < 20; ++value) {
    device->fill_bytes(all, value, *producer);
    ready->record(*producer);
    ready->wait(*consumer);
    device->copy(all.slice(kBytes - 1, 1), View(host, 1, DType::kU8), *consumer);
    consumer->synchronize();
    REQUIRE(static_cast<unsigned char>(*host) == value);
  }
  ready->synchronize();
  free_pinned(host);
  device->deallocate(memory, kBytes);
}

GPU_TEST_CASE("asking for more memory than the GPU has is an Error that says how much there is, and harms nothing") {
  const auto device = make_cuda_device(0);
  const std::size_t too_much = device->memory_info().total * 2;
  CHECK_THROWS_WITH_AS(device->allocate(too_much), doctest::Contains("out of GPU memory"), Error);
  std::byte* memory = device->allocate(1024);
  device->deallocate(memory, 1024);
}

GPU_TEST_CASE("there is no device beyond the last, and a CPU stream is no CUDA stream") {
  CHECK_THROWS_WITH_AS(make_cuda_device(1000), doctest::Contains("1000"), Error);
  CHECK_THROWS_AS(cuda_properties(*make_cpu_device()), Error);
  const auto cpu = make_cpu_device();
  const auto cpu_stream = cpu->create_stream("test");
  Gpu& gpu = Gpu::get();
  CHECK_THROWS_AS(gpu.ops->fill({gpu.workspace, 0.0}, *cpu_stream), Error);
  const GpuBuffer buffer(DType::kF32, 8, 0);
  CHECK_THROWS_AS(gpu.ops->fill({buffer.view(), 0.0}, *cpu_stream), Error);
}

GPU_TEST_CASE("an arena lives on the GPU and on page-locked host memory") {
  const auto pinned = make_pinned_cpu_device();
  CHECK(pinned->type() == DeviceType::kCpu);
  Arena host(*pinned, 1 << 20, "host");
  Arena device(*Gpu::get().device, 1 << 20, "device", {.poison = true});
  const View source = host.allocate("staging", DType::kF32, 1000);
  const View on_gpu = device.allocate("weights", DType::kF32, 1000);
  const View result = host.allocate("staging", DType::kF32, 1000);
  for (float& x : source.span<float>()) x = 2.5F;
  Gpu& gpu = Gpu::get();
  gpu.device->copy(source, on_gpu, *gpu.stream);
  gpu.device->copy(on_gpu, result, *gpu.stream);
  gpu.stream->synchronize();
  for (const float x : result.span<float>()) REQUIRE(x == 2.5F);
}

GPU_TEST_CASE("ops on the GPU check their arguments and refuse fp64 and a small workspace") {
  Gpu& gpu = Gpu::get();
  const GpuBuffer doubles(DType::kF64, 8, 0);
  const GpuBuffer floats(DType::kF32, 64, 0);
  const View f = floats.view();
  CHECK_THROWS_WITH_AS(gpu.ops->cast({doubles.view(), f.slice(0, 8)}, *gpu.stream), doctest::Contains("fp64"), Error);
  CHECK_THROWS_AS(gpu.ops->add({f.slice(0, 8), f.slice(8, 9)}, *gpu.stream), Error);
  gpu.ops->set_workspace(gpu.workspace.slice(0, 16));
  CHECK_THROWS_WITH_AS(gpu.ops->linear_forward({1, 8, 8, f.slice(0, 8), f.slice(0, 64), f.slice(8, 8)}, *gpu.stream),
                       doctest::Contains("workspace"), Error);
  gpu.ops->set_workspace(gpu.workspace);
}

}  // namespace
}  // namespace llama_zero::test
