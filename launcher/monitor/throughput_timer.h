// Samples per second as DeepSpeed counts them.
#pragma once

#include <cstdint>

namespace llama_zero {

/// The first two steps warm up and are left out of both figures (DeepSpeed's ThroughputTimer, start_step 2).
class ThroughputTimer {
 public:
  static constexpr std::int64_t kWarmUpSteps = 2;

  explicit ThroughputTimer(std::int64_t batch_size) : batch_size_(static_cast<double>(batch_size)) {}

  void add_step(double seconds);
  /// False until a step has been counted.
  bool has_figures() const { return steps_ > kWarmUpSteps; }
  /// Samples per second over all counted steps.
  double average() const;
  /// Of the latest step; DeepSpeed adds a microsecond to its time.
  double current() const;

 private:
  double batch_size_;
  std::int64_t steps_ = 0;
  double total_seconds_ = 0.0, last_seconds_ = 0.0;
};

}  // namespace llama_zero
