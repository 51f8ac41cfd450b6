#include "launcher/monitor/throughput_timer.h"

namespace llama_zero {

void ThroughputTimer::add_step(double seconds) {
  steps_ += 1;
  if (!has_figures()) return;
  last_seconds_ = seconds;
  total_seconds_ += seconds;
}

double ThroughputTimer::average() const {
  return batch_size_ * static_cast<double>(steps_ - kWarmUpSteps) / total_seconds_;
}

double ThroughputTimer::current() const { return batch_size_ / (last_seconds_ + 1e-6); }

}  // namespace llama_zero
