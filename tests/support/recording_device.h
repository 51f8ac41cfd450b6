// The CPU device, which keeps what it was asked for.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/device.h"

namespace llama_zero::test {

class RecordingDevice final : public Device {
 public:
  RecordingDevice() : device_(make_cpu_device()) {}

  std::vector<HostMemory> host_memory;  ///< of every allocation

  DeviceType type() const override { return device_->type(); }
  std::string description() const override { return device_->description(); }
  DeviceMemoryInfo memory_info() const override { return device_->memory_info(); }
  std::byte* allocate(std::size_t bytes) override { return device_->allocate(bytes); }
  void deallocate(std::byte* data, std::size_t bytes) noexcept override { device_->deallocate(data, bytes); }
  HostBlock allocate_host(std::size_t bytes, HostMemory kind, const HostTouch& touch) override {
    host_memory.push_back(kind);
    return device_->allocate_host(bytes, kind, touch);
  }
  void deallocate_host(const HostBlock& block) noexcept override { device_->deallocate_host(block); }
  std::unique_ptr<Stream> create_stream(const std::string& name) override { return device_->create_stream(name); }
  std::unique_ptr<Event> create_event() override { return device_->create_event(); }
  std::unique_ptr<Event> create_timing_event() override { return device_->create_timing_event(); }
  void copy(ConstView source, View destination, Stream& stream) override { device_->copy(source, destination, stream); }
  void fill_bytes(View destination, unsigned char value, Stream& stream) override {
    device_->fill_bytes(destination, value, stream);
  }

 private:
  std::unique_ptr<Device> device_;
};

}  // namespace llama_zero::test
