#include "core/device.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <new>
#include <thread>

namespace llama_zero {
namespace {

constexpr std::size_t kAlignment = 256;
constexpr std::size_t kPage = 4096;
constexpr std::size_t kHugePage = std::size_t{2} << 20U;

class ImmediateStream final : public Stream {
 public:
  void synchronize() override {}
};

class ImmediateEvent final : public Event {
 public:
  void record(Stream&) override {}
  void wait(Stream&) override {}
  void synchronize() override {}
};

/// Work is done when it was given, so the host's clock times it.
class ClockEvent final : public Event {
 public:
  void record(Stream&) override { time_ = std::chrono::steady_clock::now(); }
  void wait(Stream&) override {}
  void synchronize() override {}
  double elapsed_ms(const Event& earlier) const override {
    const auto* other = dynamic_cast<const ClockEvent*>(&earlier);
    require(other != nullptr, "event: the earlier event takes no time, or is another device's");
    return std::chrono::duration<double, std::milli>(time_ - other->time_).count();
  }

 private:
  std::chrono::steady_clock::time_point time_;
};

void require_same_bytes(const ConstView& source, const View& destination) {
  require(source.bytes() == destination.bytes(), "copy of {} bytes into {} bytes", source.bytes(), destination.bytes());
}

std::string cpu_model_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.rfind("model name", 0) != 0) continue;
    const auto colon = line.find(": ");
    if (colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown model";
}

std::byte* allocate_aligned(std::size_t bytes) {
  void* data = ::operator new (bytes, std::align_val_t{kAlignment}, std::nothrow);
  require(data != nullptr, "out of host memory: {} bytes could not be allocated", bytes);
  return static_cast<std::byte*>(data);
}

void free_aligned(std::byte* data) noexcept { ::operator delete (data, std::align_val_t{kAlignment}); }

class CpuDevice final : public Device {
 public:
  DeviceType type() const override { return DeviceType::kCpu; }

  std::string description() const override {
    return fmt::format("CPU ({}, {} threads)", cpu_model_name(), std::thread::hardware_concurrency());
  }

  DeviceMemoryInfo memory_info() const override {
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    return {static_cast<std::size_t>(::sysconf(_SC_AVPHYS_PAGES)) * page,
            static_cast<std::size_t>(::sysconf(_SC_PHYS_PAGES)) * page};
  }

  std::byte* allocate(std::size_t bytes) override { return allocate_aligned(bytes); }
  void deallocate(std::byte* data, std::size_t) noexcept override { free_aligned(data); }

  std::unique_ptr<Stream> create_stream(const std::string&) override { return std::make_unique<ImmediateStream>(); }
  std::unique_ptr<Event> create_event() override { return std::make_unique<ImmediateEvent>(); }
  std::unique_ptr<Event> create_timing_event() override { return std::make_unique<ClockEvent>(); }

  void copy(ConstView source, View destination, Stream&) override {
    require_same_bytes(source, destination);
    if (source.bytes() > 0) std::memmove(destination.raw(), source.raw(), source.bytes());
  }

  void fill_bytes(View destination, unsigned char value, Stream&) override {
    if (destination.bytes() > 0) std::memset(destination.raw(), value, destination.bytes());
  }
};

class NullDevice final : public Device {
 public:
  DeviceType type() const override { return DeviceType::kNull; }
  std::string description() const override { return "planner (no memory behind it)"; }
  DeviceMemoryInfo memory_info() const override { return {SIZE_MAX, SIZE_MAX}; }

  std::byte* allocate(std::size_t bytes) override {
    const std::size_t start = next_.fetch_add((bytes + kAlignment - 1) / kAlignment * kAlignment);
    return reinterpret_cast<std::byte*>(start);
  }
  void deallocate(std::byte*, std::size_t) noexcept override {}

  std::unique_ptr<Stream> create_stream(const std::string&) override { return std::make_unique<ImmediateStream>(); }
  std::unique_ptr<Event> create_event() override { return std::make_unique<ImmediateEvent>(); }
  std::unique_ptr<Event> create_timing_event() override { return std::make_unique<ClockEvent>(); }
  void copy(ConstView source, View destination, Stream&) override { require_same_bytes(source, destination); }
  void fill_bytes(View, unsigned char, Stream&) override {}

 private:
  std::atomic<std::size_t> next_{std::size_t{1} << 44U};
};

}  // namespace

double Event::elapsed_ms(const Event&) const { fail("event: this event takes no time"); }

void touch_with_zeros(View memory) {
  if (memory.bytes() > 0) std::memset(memory.raw(), 0, memory.bytes());
}

// Large blocks lie on huge pages where the system has them: an optimizer walks through many arrays at once.
HostBlock Device::allocate_host(std::size_t bytes, HostMemory kind, const HostTouch& touch) {
  const std::size_t alignment = bytes < kHugePage ? kPage : kHugePage;
  void* data = std::aligned_alloc(alignment, (std::max<std::size_t>(bytes, 1) + alignment - 1) / alignment * alignment);
  require(data != nullptr, "out of host memory: {} bytes could not be allocated", bytes);
  if (bytes >= kHugePage) ::madvise(data, bytes, MADV_HUGEPAGE);
  const HostBlock block{static_cast<std::byte*>(data), bytes, kind, false};
  touch(View(block.data, static_cast<std::int64_t>(bytes), DType::kU8));
  return block;
}

void Device::deallocate_host(const HostBlock& block) noexcept { std::free(block.data); }

HostBuffer::HostBuffer(Device& device, std::size_t bytes, HostMemory kind)
    : device_(device), block_(device.allocate_host(bytes, kind, touch_with_zeros)) {}

HostBuffer::~HostBuffer() { device_.deallocate_host(block_); }

std::unique_ptr<Device> make_cpu_device() { return std::make_unique<CpuDevice>(); }
std::unique_ptr<Device> make_null_device() { return std::make_unique<NullDevice>(); }

}  // namespace llama_zero
