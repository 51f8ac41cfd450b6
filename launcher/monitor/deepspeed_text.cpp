#include "launcher/monitor/deepspeed_text.h"

#include <fmt/format.h>

#include <cmath>

namespace llama_zero {
namespace {

double in_gb(std::size_t bytes) { return static_cast<double>(bytes) / (1024.0 * 1024.0 * 1024.0); }

}  // namespace

std::string python_float(double value) {
  std::string text = fmt::format("{}", value);
  if (std::isfinite(value) && text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

// Python rounds the decimal value correctly, as printf does.
std::string python_round(double value) {
  return python_float(std::strtod(fmt::format("{:.2f}", value).c_str(), nullptr));
}

std::string progress_line(std::int64_t step, std::int64_t skipped, double lr, std::span<const double> momenta) {
  std::string momentum;
  for (const double value : momenta) momentum += (momentum.empty() ? "" : ", ") + python_float(value);
  if (momenta.empty()) momentum = "0.0";
  if (momenta.size() > 1) momentum = "[" + momentum + "]";
  return fmt::format("step={}, skipped={}, lr=[{}], mom=[{}]", step, skipped, python_float(lr), momentum);
}

std::string throughput_line(const ThroughputFigures& figures) {
  return fmt::format(
      "epoch={}/micro_step={}/global_step={}, RunningAvgSamplesPerSec={}, CurrSamplesPerSec={}, MemAllocated={}GB, "
      "MaxMemAllocated={}GB",
      figures.epoch, figures.micro_step, figures.global_step, python_float(figures.average_samples_per_second),
      python_float(figures.current_samples_per_second), python_round(in_gb(figures.allocated_bytes)),
      python_round(in_gb(figures.peak_bytes)));
}

std::string times_line(std::span<const NamedTime> times) {
  std::string line = "time (ms)";
  for (const NamedTime& time : times) line += fmt::format(" | {}: {:.2f}", time.name, time.milliseconds);
  return line;
}

std::string memory_lines(std::string_view title, const DeviceMemory& device, const HostMemoryUse& host) {
  // The gaps and the blank at the end of the second line are DeepSpeed's; so is Max_CA in whole GB.
  return fmt::format(
      "{}\n"
      "MA {} GB         Max_MA {} GB         CA {} GB         Max_CA {:.0f} GB \n"
      "CPU Virtual Memory:  used = {} GB, percent = {:.1f}%\n",
      title, python_round(in_gb(device.allocated)), python_round(in_gb(device.peak)),
      python_round(in_gb(device.reserved)), in_gb(device.reserved), python_round(host.used_gb()), host.used_percent());
}

}  // namespace llama_zero
