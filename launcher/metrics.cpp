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

// Steps that the checkpoint does not know were made in vain: the resumed run writes them again.
void keep_lines(const fs::path& path, std::int64_t last_step) {
  AtomicFile kept(path);
  const MappedFile file(path);
  std::string_view text = file.text();
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) break;  // cut short by a crash
    const std::string_view line = text.substr(0, end + 1);
    const Json json = Json::parse(line, nullptr, false);
    const auto step = json.is_object() ? json.find("step") : json.end();
    if (json.is_object() && step != json.end() && step->is_number_integer() && step->get<std::int64_t>() <= last_step) {
      kept.write(line);
    }
    text.remove_prefix(end + 1);
  }
  kept.commit();
}

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
  line["comm_bytes"] = report.comm_bytes;
  line["comm_ms"] = finite_or_null(report.comm_ms);
  line["wait_ms"] = finite_or_null(report.wait_ms);
  line["epoch"] = finite_or_null(report.epoch);
  return line.dump();
}

MetricsFile::MetricsFile(fs::path path, std::int64_t steps_before) : path_(std::move(path)) {
  if (steps_before > 0 && fs::exists(path_)) keep_lines(path_, steps_before);
  const int how = steps_before > 0 ? O_APPEND : O_TRUNC;
  descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | how | O_CLOEXEC, 0644);
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
