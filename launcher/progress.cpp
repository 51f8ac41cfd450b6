#include "launcher/progress.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <fstream>

namespace llama_zero {
namespace {

// Weight of the newest step in the moving average of step times behind the ETA.
constexpr double kEtaSmoothing = 0.1;
constexpr int kBarCells = 20;

std::string bar(std::int64_t step, std::int64_t total) {
  const double part = total > 0 ? std::clamp(static_cast<double>(step) / static_cast<double>(total), 0.0, 1.0) : 0.0;
  const auto full = static_cast<std::size_t>(part * kBarCells);
  return fmt::format("[{}{}]", std::string(full, '#'), std::string(kBarCells - full, '.'));
}

std::string format_scale(double scale) {
  return scale >= 1.0 && scale == std::floor(scale) && scale < 1e15 ? fmt::format("{:.0f}", scale)
                                                                    : fmt::format("{:g}", scale);
}

// The environment does not tell: Open MPI sets its variables in a process that was started without mpirun, too.
bool started_by_mpirun() {
  std::ifstream in(fmt::format("/proc/{}/comm", ::getppid()));
  std::string parent;
  std::getline(in, parent);
  constexpr std::array<std::string_view, 8> kLaunchers = {"mpirun", "mpiexec", "orterun", "prterun",
                                                          "orted",  "prted",   "prte",    "hydra_pmi_proxy"};
  return std::ranges::find(kLaunchers, parent) != kLaunchers.end();
}

std::optional<int> width_of(int output) {
  if (::isatty(output) != 1) return std::nullopt;
  winsize size{};
  const bool known = ::ioctl(output, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return known ? size.ws_col : 120;
}

}  // namespace

std::string format_duration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0.0) return "?";
  if (seconds < 10.0) return fmt::format("{:.1f}s", seconds);
  const auto whole = static_cast<std::int64_t>(std::llround(seconds));
  if (whole < 60) return fmt::format("{}s", whole);
  if (whole < 3600) return fmt::format("{}m{:02}s", whole / 60, whole % 60);
  return fmt::format("{}h{:02}m", whole / 3600, whole % 3600 / 60);
}

std::string format_count(std::int64_t count) {
  std::string digits = fmt::format("{}", count);
  const std::size_t first = digits[0] == '-' ? 1 : 0;
  for (std::size_t at = digits.size(); at > first + 3;) digits.insert(at -= 3, 1, ',');
  return digits;
}

std::string format_step_line(const StepReport& report, double eta_seconds, bool with_scale) {
  std::string line = fmt::format("step {}/{} | loss {:.4f} | lr {:.1e} | norm {:.3g}", report.step, report.total_steps,
                                 report.loss, report.lr, report.grad_norm);
  if (with_scale) line += fmt::format(" | scale {}", format_scale(report.loss_scale));
  line += fmt::format(" | {} tok/s | {:.0f} ms | eta {}", format_count(std::llround(report.tokens_per_second)),
                      report.step_ms, format_duration(eta_seconds));
  if (report.skipped) {
    line += " | SKIPPED: gradients not finite";
    if (with_scale) line += fmt::format(", next scale {}", format_scale(report.next_loss_scale));
  }
  return line;
}

Progress::Progress(Options options, std::function<void(std::string_view)> write)
    : options_(options), write_(std::move(write)) {}

bool Progress::due(const StepReport& report, double now_seconds) const {
  if (report.skipped || report.step >= report.total_steps) return true;
  return steps_ <= options_.fast_lines || now_seconds - last_line_seconds_ >= options_.seconds_between_lines;
}

void Progress::step(const StepReport& report, double now_seconds) {
  steps_ += 1;
  const double seconds = report.step_ms / 1e3;
  // The first step warms caches; it only counts until there is a second.
  mean_step_seconds_ = steps_ <= 2 ? seconds : mean_step_seconds_ + kEtaSmoothing * (seconds - mean_step_seconds_);
  const double eta = mean_step_seconds_ * static_cast<double>(report.total_steps - report.step);
  const std::string line = format_step_line(report, eta, options_.with_scale);
  if (options_.terminal) {
    show_live(report, line);
  } else if (due(report, now_seconds)) {
    write_(line + "\n");
    last_line_seconds_ = now_seconds;
  }
}

void Progress::show_live(const StepReport& report, const std::string& line) {
  if (report.skipped) {
    write_("\r\x1b[K" + line + "\n");
    live_ = false;
    return;
  }
  std::string text = bar(report.step, report.total_steps) + " " + line;
  const auto width = static_cast<std::size_t>(std::max(options_.width - 1, 20));
  if (text.size() > width) text.resize(width);
  write_("\r" + text + "\x1b[K");
  live_ = true;
}

void Progress::finish() {
  if (live_) write_("\n");
  live_ = false;
}

void write_stdout(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

std::optional<int> terminal_width() {
  const std::optional<int> width = width_of(STDOUT_FILENO);
  if (!width || !started_by_mpirun()) return width;
  const std::string path = fmt::format("/proc/{}/fd/1", ::getppid());
  const int output = ::open(path.c_str(), O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
  if (output < 0) return std::nullopt;
  const std::optional<int> behind = width_of(output);
  ::close(output);
  return behind;
}

}  // namespace llama_zero
