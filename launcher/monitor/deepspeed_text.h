// DeepSpeed's lines, word for word (0.19: runtime/engine.py, utils/timer.py, runtime/utils.py), so that what reads them
// goes on to work.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "launcher/monitor/host_memory.h"

namespace llama_zero {

/// A float as Python prints it: "0.001", "1e-05", "65536.0", "nan".
std::string python_float(double value);
/// The same after Python's round(value, 2).
std::string python_round(double value);

/// "step=10, skipped=0, lr=[0.0001], mom=[[0.9, 0.999]]". `momenta`: the betas, or one momentum, which prints without
/// the inner brackets; none: mom=[0.0].
std::string progress_line(std::int64_t step, std::int64_t skipped, double lr, std::span<const double> momenta);

struct ThroughputFigures {
  std::int64_t epoch = 0, micro_step = 0, global_step = 0;
  double average_samples_per_second = 0.0, current_samples_per_second = 0.0;
  std::size_t allocated_bytes = 0, peak_bytes = 0;
};
/// "epoch=0/micro_step=10/global_step=10, RunningAvgSamplesPerSec=..., CurrSamplesPerSec=..., MemAllocated=0.5GB,
/// MaxMemAllocated=0.75GB"
std::string throughput_line(const ThroughputFigures& figures);

struct NamedTime {
  std::string_view name;
  double milliseconds;
};
/// "time (ms) | fwd_microstep: 1.25 | bwd_microstep: 2.50"
std::string times_line(std::span<const NamedTime> times);

/// Device memory at one moment: used, the highest so far, and what the arena holds of the device.
struct DeviceMemory {
  std::size_t allocated = 0, peak = 0, reserved = 0;
};
/// Three lines: the title, "MA .. GB Max_MA .. GB CA .. GB Max_CA .. GB", "CPU Virtual Memory:  used = .. GB, percent =
/// ..%"; a newline after each.
std::string memory_lines(std::string_view title, const DeviceMemory& device, const HostMemoryUse& host);

}  // namespace llama_zero
