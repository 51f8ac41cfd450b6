#include "launcher/metrics.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string_view>

#include "core/error.h"

namespace llama_zero {
namespace {

using Json = nlohmann::ordered_json;

Json finite_or_null(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

}  // namespace

std::string metrics_line(const StepReport& report) {
  Json line;
  line["step"] = report.step;
  line["loss"] = finite_or_null(report.loss);
  line["lr"] = finite_or_null(report.lr);
  line["grad_norm"] = finite_or_null(report.grad_norm);
  line["loss_scale"] = finite_or_null(report.loss_scale);
  line["skipped"] = report.skipped;
  line["samples"] = report.samples;
  line["tokens"] = report.tokens;
  line["tokens_per_s"] = finite_or_null(report.tokens_per_second);
  line["step_ms"] = finite_or_null(report.step_ms);
  line["mem_peak_bytes"] = report.mem_peak_bytes;
  line["epoch"] = finite_or_null(report.epoch);
  return line.dump();
}

MetricsFile::MetricsFile(fs::path path) : path_(std::move(path)) {
  descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (descriptor_ < 0) fail_errno(errno, fmt::format("cannot write {}", path_.string()));
}

MetricsFile::~MetricsFile() { ::close(descriptor_); }

void MetricsFile::write(const StepReport& report) {
  const std::string line = metrics_line(report) + "\n";
  std::string_view left = line;
  while (!left.empty()) {
    const ssize_t written = ::write(descriptor_, left.data(), left.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail_errno(errno, fmt::format("cannot write {} (step {})", path_.string(), report.step));
    left.remove_prefix(static_cast<std::size_t>(written));
  }
}

}  // namespace llama_zero
