// A device without storage whose clock a test moves.
#pragma once

#include <memory>
#include <string>

#include "core/device.h"

namespace llama_zero::test {

class ManualStream final : public Stream {
 public:
  void synchronize() override {}
};

class ManualEvent final : public Event {
 public:
  explicit ManualEvent(const double& clock) : clock_(clock) {}
  void record(Stream&) override { time_ = clock_; }
  void wait(Stream&) override {}
  void synchronize() override {}
  double elapsed_ms(const Event& earlier) const override {
    return time_ - dynamic_cast<const ManualEvent&>(earlier).time_;
  }

 private:
  const double& clock_;
  double time_ = 0.0;
};

/// The planner's device with a clock of the test's.
class ManualDevice final : public Device {
 public:
  explicit ManualDevice(DeviceType type) : type_(type) {}
  double clock = 0.0;
  int events = 0;

  DeviceType type() const override { return type_; }
  std::string description() const override { return "manual"; }
  DeviceMemoryInfo memory_info() const override { return {}; }
  std::byte* allocate(std::size_t) override { return nullptr; }
  void deallocate(std::byte*, std::size_t) noexcept override {}
  std::unique_ptr<Stream> create_stream(const std::string&) override { return std::make_unique<ManualStream>(); }
  std::unique_ptr<Event> create_event() override { return std::make_unique<ManualEvent>(clock); }
  std::unique_ptr<Event> create_timing_event() override {
    events += 1;
    return std::make_unique<ManualEvent>(clock);
  }
  void copy(ConstView, View, Stream&) override {}
  void fill_bytes(View, unsigned char, Stream&) override {}

 private:
  DeviceType type_;
};

}  // namespace llama_zero::test
