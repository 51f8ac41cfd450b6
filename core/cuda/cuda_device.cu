#include "core/cuda/cuda_device.h"

#include <cuda_runtime.h>
#include <sys/resource.h>

#include <atomic>

#include "core/cuda/cuda_check.h"
#include "core/log.h"

namespace llama_zero {
namespace {

constexpr int kOldestCapability = 80;
constexpr std::size_t kDriverBlock = std::size_t{1} << 20U;  // smaller host blocks come from the driver

/// Page-locked by the driver; no data when it refuses.
HostBlock driver_block(std::size_t bytes) {
  void* data = nullptr;
  if (cudaHostAlloc(&data, bytes, cudaHostAllocPortable) != cudaSuccess) {
    cudaGetLastError();
    return {};
  }
  return {static_cast<std::byte*>(data), bytes, HostMemory::kPinned, true};
}

void warn_pageable(std::size_t bytes, cudaError_t error) {
  static std::atomic<bool> warned{false};
  if (warned.exchange(true)) return;
  rlimit limit{};
  getrlimit(RLIMIT_MEMLOCK, &limit);
  const std::string memlock =
      limit.rlim_cur == RLIM_INFINITY ? std::string("unlimited") : fmt::format("{} bytes", limit.rlim_cur);
  log::warning(
      "{} bytes of host memory cannot be page-locked ({}; ulimit -l is {}): they stay pageable, and copies between them "
      "and the GPU are slow and make the host wait",
      bytes, cudaGetErrorString(error), memlock);
}

class CudaStream final : public Stream {
 public:
  explicit CudaStream(int ordinal) : ordinal_(ordinal) {
    LLAMA_ZERO_CUDA(cudaSetDevice(ordinal_));
    LLAMA_ZERO_CUDA(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
  }
  ~CudaStream() override { log_cuda_error(cudaStreamDestroy(stream_), "cudaStreamDestroy"); }
  CudaStream(const CudaStream&) = delete;
  CudaStream& operator=(const CudaStream&) = delete;

  void synchronize() override {
    LLAMA_ZERO_CUDA(cudaSetDevice(ordinal_));
    LLAMA_ZERO_CUDA(cudaStreamSynchronize(stream_));
  }
  void* handle() const override { return stream_; }

 private:
  int ordinal_;
  cudaStream_t stream_ = nullptr;
};

/// 48 bits of the GPU's UUID, which fit a double exactly: the same number in every process that sees this GPU.
std::uint64_t identity_of(const cudaUUID_t& uuid) {
  std::uint64_t hash = 14695981039346656037ULL;  // FNV-1a
  for (const char byte : uuid.bytes) hash = (hash ^ static_cast<unsigned char>(byte)) * 1099511628211ULL;
  return (hash ^ (hash >> 48U)) & ((std::uint64_t{1} << 48U) - 1U);
}

cudaStream_t handle_of(Stream& stream) {
  require(dynamic_cast<CudaStream*>(&stream) != nullptr, "CUDA: the stream belongs to another device");
  return static_cast<cudaStream_t>(stream.handle());
}

class CudaEvent final : public Event {
 public:
  CudaEvent(int ordinal, unsigned flags) : ordinal_(ordinal) {
    LLAMA_ZERO_CUDA(cudaSetDevice(ordinal_));
    LLAMA_ZERO_CUDA(cudaEventCreateWithFlags(&event_, flags));
  }
  ~CudaEvent() override { log_cuda_error(cudaEventDestroy(event_), "cudaEventDestroy"); }
  CudaEvent(const CudaEvent&) = delete;
  CudaEvent& operator=(const CudaEvent&) = delete;

  void record(Stream& stream) override {
    LLAMA_ZERO_CUDA(cudaSetDevice(ordinal_));
    LLAMA_ZERO_CUDA(cudaEventRecord(event_, handle_of(stream)));
  }
  void wait(Stream& stream) override {
    LLAMA_ZERO_CUDA(cudaSetDevice(ordinal_));
    LLAMA_ZERO_CUDA(cudaStreamWaitEvent(handle_of(stream), event_, 0));
  }
  void synchronize() override {
    LLAMA_ZERO_CUDA(cudaSetDevice(ordinal_));
    LLAMA_ZERO_CUDA(cudaEventSynchronize(event_));
  }
  double elapsed_ms(const Event& earlier) const override {
    const auto* other = dynamic_cast<const CudaEvent*>(&earlier);
    require(other != nullptr, "CUDA: the earlier event belongs to another device");
    float milliseconds = 0.0F;
    LLAMA_ZERO_CUDA(cudaEventElapsedTime(&milliseconds, other->event_, event_));
    return static_cast<double>(milliseconds);
  }

 private:
  int ordinal_;
  cudaEvent_t event_ = nullptr;
};

class CudaDevice final : public Device {
 public:
  explicit CudaDevice(int ordinal) {
    std::string why_not;
    require(cuda_available(&why_not), "no CUDA device: {}", why_not);
    const int count = cuda_device_count();
    require(ordinal >= 0 && ordinal < count, "no CUDA device {}: this process sees {} GPU(s)", ordinal, count);
    cudaDeviceProp properties{};
    LLAMA_ZERO_CUDA(cudaGetDeviceProperties(&properties, ordinal));
    name_ = properties.name;
    properties_ = {ordinal, properties.multiProcessorCount, properties.major * 10 + properties.minor,
                   properties.sharedMemPerBlockOptin, identity_of(properties.uuid)};
    require(properties_.compute_capability >= kOldestCapability,
            "CUDA device {} ({}) has compute capability {}.{}, 8.0 or later is needed", ordinal, name_,
            properties.major, properties.minor);
    // Waiting threads sleep instead of spinning: ranks may outnumber cores. Creates the context, so that memory_info()
    // includes it from now on.
    LLAMA_ZERO_CUDA(cudaInitDevice(ordinal, cudaDeviceScheduleBlockingSync, cudaInitDeviceFlagsAreValid));
    LLAMA_ZERO_CUDA(cudaSetDevice(ordinal));
  }

  DeviceType type() const override { return DeviceType::kCuda; }
  std::string description() const override { return name_; }
  const CudaProperties& properties() const { return properties_; }

  DeviceMemoryInfo memory_info() const override {
    activate();
    DeviceMemoryInfo info;
    LLAMA_ZERO_CUDA(cudaMemGetInfo(&info.free, &info.total));
    return info;
  }

  std::byte* allocate(std::size_t bytes) override {
    activate();
    void* data = nullptr;
    const cudaError_t error = cudaMalloc(&data, bytes);
    if (error == cudaErrorMemoryAllocation) {
      cudaGetLastError();
      const DeviceMemoryInfo info = memory_info();
      fail(
          "out of GPU memory: {} bytes ({:.2f} GB) asked of {}, which has {:.2f} of {:.2f} GB free; --plan shows what "
          "the run needs and which change makes it fit",
          bytes, in_gb(bytes), name_, in_gb(info.free), in_gb(info.total));
    }
    check_cuda(error, "cudaMalloc");
    return static_cast<std::byte*>(data);
  }

  void deallocate(std::byte* data, std::size_t) noexcept override {
    log_cuda_error(cudaSetDevice(properties_.ordinal), "cudaSetDevice");
    log_cuda_error(cudaFree(data), "cudaFree");
  }

  // Memory that exists can be page-locked after its threads have touched it; the driver's own lies where it likes.
  HostBlock allocate_host(std::size_t bytes, HostMemory kind, const HostTouch& touch) override {
    activate();
    if (kind == HostMemory::kPinned && bytes < kDriverBlock) {
      if (HostBlock block = driver_block(bytes); block.data != nullptr) {
        touch(View(block.data, static_cast<std::int64_t>(bytes), DType::kU8));
        return block;
      }
    }
    HostBlock block = Device::allocate_host(bytes, kind, touch);
    if (kind == HostMemory::kPageable || bytes == 0) return block;
    const cudaError_t error = cudaHostRegister(block.data, bytes, cudaHostRegisterPortable);
    if (error == cudaSuccess) return block;
    cudaGetLastError();
    if (const HostBlock driver = driver_block(bytes); driver.data != nullptr) {
      Device::deallocate_host(block);
      touch(View(driver.data, static_cast<std::int64_t>(bytes), DType::kU8));
      return driver;
    }
    block.kind = HostMemory::kPageable;
    warn_pageable(bytes, error);
    return block;
  }
  void deallocate_host(const HostBlock& block) noexcept override {
    if (block.from_driver) {
      free_pinned(block.data);
      return;
    }
    if (block.kind == HostMemory::kPinned && block.bytes > 0) {
      log_cuda_error(cudaHostUnregister(block.data), "cudaHostUnregister");
    }
    Device::deallocate_host(block);
  }

  std::unique_ptr<Stream> create_stream(const std::string&) override {
    return std::make_unique<CudaStream>(properties_.ordinal);
  }
  std::unique_ptr<Event> create_event() override {
    return std::make_unique<CudaEvent>(properties_.ordinal, cudaEventDisableTiming);
  }
  std::unique_ptr<Event> create_timing_event() override {
    return std::make_unique<CudaEvent>(properties_.ordinal, cudaEventDefault);
  }
  void synchronize() override {
    activate();
    LLAMA_ZERO_CUDA(cudaDeviceSynchronize());
  }

  void copy(ConstView source, View destination, Stream& stream) override {
    require(source.bytes() == destination.bytes(), "copy of {} bytes into {} bytes", source.bytes(),
            destination.bytes());
    if (source.bytes() == 0) return;
    activate();
    LLAMA_ZERO_CUDA(
        cudaMemcpyAsync(destination.raw(), source.raw(), source.bytes(), cudaMemcpyDefault, handle_of(stream)));
  }

  void fill_bytes(View destination, unsigned char value, Stream& stream) override {
    if (destination.bytes() == 0) return;
    activate();
    LLAMA_ZERO_CUDA(cudaMemsetAsync(destination.raw(), value, destination.bytes(), handle_of(stream)));
  }

 private:
  static double in_gb(std::size_t bytes) { return static_cast<double>(bytes) / static_cast<double>(1ULL << 30U); }
  void activate() const { LLAMA_ZERO_CUDA(cudaSetDevice(properties_.ordinal)); }

  CudaProperties properties_;
  std::string name_;
};

/// Everything but memory as on the plain CPU device.
class PinnedCpuDevice final : public Device {
 public:
  DeviceType type() const override { return DeviceType::kCpu; }
  std::string description() const override { return cpu_->description() + ", page-locked memory"; }
  DeviceMemoryInfo memory_info() const override { return cpu_->memory_info(); }
  std::byte* allocate(std::size_t bytes) override { return allocate_pinned(bytes); }
  void deallocate(std::byte* data, std::size_t) noexcept override { free_pinned(data); }
  std::unique_ptr<Stream> create_stream(const std::string& name) override { return cpu_->create_stream(name); }
  std::unique_ptr<Event> create_event() override { return cpu_->create_event(); }
  std::unique_ptr<Event> create_timing_event() override { return cpu_->create_timing_event(); }
  void copy(ConstView source, View destination, Stream& stream) override { cpu_->copy(source, destination, stream); }
  void fill_bytes(View destination, unsigned char value, Stream& stream) override {
    cpu_->fill_bytes(destination, value, stream);
  }

 private:
  std::unique_ptr<Device> cpu_ = make_cpu_device();
};

/// Empty when a GPU can be used, else what is missing.
std::string missing_for_cuda() {
  int driver = 0;
  int runtime = 0;
  const cudaError_t driver_error = cudaDriverGetVersion(&driver);
  cudaRuntimeGetVersion(&runtime);
  if (driver_error != cudaSuccess || driver == 0) {
    cudaGetLastError();
    return "no NVIDIA driver is loaded";
  }
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  cudaGetLastError();
  if (error == cudaErrorInsufficientDriver) {
    return fmt::format("the NVIDIA driver is too old: it supports CUDA {}.{}, this program needs {}.{}", driver / 1000,
                       driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);
  }
  if (error == cudaErrorNoDevice || (error == cudaSuccess && count == 0)) {
    return "no GPU is visible to this process (see nvidia-smi and CUDA_VISIBLE_DEVICES)";
  }
  if (error != cudaSuccess) return describe_cuda_error(error, "cudaGetDeviceCount");
  int major = 0;
  int minor = 0;
  cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0);
  cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, 0);
  if (major * 10 + minor < kOldestCapability) {
    return fmt::format("the GPU has compute capability {}.{}, 8.0 or later is needed", major, minor);
  }
  return "";
}

}  // namespace

bool cuda_available(std::string* why_not) {
  const std::string missing = missing_for_cuda();
  if (why_not != nullptr) *why_not = missing;
  return missing.empty();
}

int cuda_device_count() {
  int count = 0;
  return cuda_available() && cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

std::unique_ptr<Device> make_cuda_device(int ordinal) { return std::make_unique<CudaDevice>(ordinal); }

CudaProperties cuda_properties(const Device& device) {
  const auto* cuda = dynamic_cast<const CudaDevice*>(&device);
  require(cuda != nullptr, "the device \"{}\" is no CUDA device", device.description());
  return cuda->properties();
}

void make_current(const CudaProperties& properties) { LLAMA_ZERO_CUDA(cudaSetDevice(properties.ordinal)); }

std::byte* allocate_pinned(std::size_t bytes) {
  void* data = nullptr;
  const cudaError_t error = cudaHostAlloc(&data, bytes, cudaHostAllocPortable);
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    fail("out of page-locked host memory: {} bytes could not be locked (see ulimit -l and the free memory)", bytes);
  }
  check_cuda(error, "cudaHostAlloc");
  return static_cast<std::byte*>(data);
}

void free_pinned(std::byte* data) noexcept { log_cuda_error(cudaFreeHost(data), "cudaFreeHost"); }

std::unique_ptr<Device> make_pinned_cpu_device() { return std::make_unique<PinnedCpuDevice>(); }

}  // namespace llama_zero
