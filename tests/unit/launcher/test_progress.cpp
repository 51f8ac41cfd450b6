#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <string>

#include "launcher/progress.h"

namespace llama_zero {
namespace {

StepReport report_at(std::int64_t step, std::int64_t total = 600) {
  StepReport report;
  report.step = step;
  report.total_steps = total;
  report.loss = 2.3456;
  report.lr = 1.9e-3;
  report.grad_norm = 1.23;
  report.loss_scale = 65536;
  report.next_loss_scale = 65536;
  report.tokens_per_second = 12345.4;
  report.step_ms = 85.0;
  return report;
}

long lines_in(const std::string& text) { return std::count(text.begin(), text.end(), '\n'); }

}  // namespace

TEST_CASE("durations read as a person says them") {
  CHECK(format_duration(0.42) == "0.4s");
  CHECK(format_duration(42.0) == "42s");
  CHECK(format_duration(192.0) == "3m12s");
  CHECK(format_duration(7500.0) == "2h05m");
  CHECK(format_duration(-1.0) == "?");
  CHECK(format_duration(std::numeric_limits<double>::quiet_NaN()) == "?");
}

TEST_CASE("counts are grouped by thousands") {
  CHECK(format_count(0) == "0");
  CHECK(format_count(999) == "999");
  CHECK(format_count(1000) == "1,000");
  CHECK(format_count(1234567) == "1,234,567");
  CHECK(format_count(-1234) == "-1,234");
}

TEST_CASE("the step line has loss, rate, norm, scale, speed, time and eta") {
  CHECK(format_step_line(report_at(12), 192.0, true) ==
        "step 12/600 | loss 2.3456 | lr 1.9e-03 | norm 1.23 | scale 65536 | 12,345 tok/s | 85 ms | eta 3m12s");
  CHECK(format_step_line(report_at(12), 192.0, false).find("scale") == std::string::npos);
}

TEST_CASE("a skipped step says why and which scale comes next") {
  StepReport report = report_at(3);
  report.skipped = true;
  report.next_loss_scale = 32768;
  const std::string line = format_step_line(report, 1.0, true);
  CHECK(line.find("SKIPPED: gradients not finite, next scale 32768") != std::string::npos);
}

TEST_CASE("in a pipe, fast steps give about one line a second, and the last step always one") {
  std::string out;
  Progress progress({.fast_lines = 0}, [&](std::string_view text) { out += text; });
  for (int step = 1; step <= 600; ++step) progress.step(report_at(step), 10.0 + 0.1 * step);
  CHECK(lines_in(out) >= 55);
  CHECK(lines_in(out) <= 62);
  CHECK(out.find("step 600/600") != std::string::npos);
  CHECK(out.find('\r') == std::string::npos);
}

TEST_CASE("in a pipe, the first steps of a run have a line each") {
  std::string out;
  Progress progress({.fast_lines = 5}, [&](std::string_view text) { out += text; });
  for (int step = 1; step <= 9; ++step) progress.step(report_at(step), 0.01 * step);
  CHECK(lines_in(out) == 5);
}

TEST_CASE("in a pipe, a skipped step is reported between the printed ones") {
  std::string out;
  Progress progress({.fast_lines = 0}, [&](std::string_view text) { out += text; });
  StepReport report = report_at(7);
  report.skipped = true;
  progress.step(report, 0.0);
  CHECK(lines_in(out) == 1);
}

TEST_CASE("on a terminal, steps overwrite one line that never wraps") {
  std::string out;
  Progress progress({.terminal = true, .width = 60}, [&](std::string_view text) { out += text; });
  for (int step = 1; step <= 3; ++step) progress.step(report_at(step), step);
  CHECK(lines_in(out) == 0);
  CHECK(std::count(out.begin(), out.end(), '\r') == 3);
  const std::string last = out.substr(out.rfind('\r') + 1);
  CHECK(last.find('\x1b') < 60);
  progress.finish();
  progress.finish();
  CHECK(lines_in(out) == 1);
}

TEST_CASE("the eta follows the recent step time") {
  std::string out;
  Progress progress({}, [&](std::string_view text) { out += text; });
  StepReport report = report_at(1, 101);
  report.step_ms = 60000.0;
  progress.step(report, 0.0);
  report = report_at(2, 101);
  report.step_ms = 1000.0;
  progress.step(report, 1.0);
  // 99 steps of one second are left; the slow first step is forgotten.
  CHECK(out.find("eta 1m39s") != std::string::npos);
}

}  // namespace llama_zero
