// The step line: a live bar on a terminal, plain lines in a pipe.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "launcher/step_report.h"

namespace llama_zero {

/// "0.4s", "42s", "3m12s", "2h05m"; "?" for what is not a finite positive number.
std::string format_duration(double seconds);

/// "12,345".
std::string format_count(std::int64_t count);

/// "step 12/600 | loss 2.3456 | lr 1.9e-03 | norm 1.23 | scale 65536 | 12,345 tok/s | 85 ms | eta 3m12s". The scale is
/// left out when `with_scale` is false (no loss scaling). A skipped step says so, and why.
std::string format_step_line(const StepReport& report, double eta_seconds, bool with_scale);

class Progress {
 public:
  struct Options {
    bool terminal = false;             ///< live bar with carriage return
    int width = 120;                   ///< columns of the terminal; the live line never wraps
    double seconds_between_lines = 1;  ///< pipe: at most a line in this time
    std::int64_t fast_lines = 20;      ///< pipe: the first steps get a line each
    bool with_scale = false;           ///< show the loss scale
  };
  /// `write` gets the text as it is to appear, newlines and carriage returns included.
  Progress(Options options, std::function<void(std::string_view)> write);

  /// One step; `now_seconds` is a clock that never goes back. Skipped steps and the last step always get a line.
  void step(const StepReport& report, double now_seconds);

  /// Ends the live line, if one is open, so that other text can follow.
  void finish();

 private:
  void show_live(const StepReport& report, const std::string& line);
  bool due(const StepReport& report, double now_seconds) const;

  Options options_;
  std::function<void(std::string_view)> write_;
  double mean_step_seconds_ = 0.0;
  double last_line_seconds_ = 0.0;
  std::int64_t steps_ = 0;
  bool live_ = false;
};

/// Writes to standard output and flushes.
void write_stdout(std::string_view text);
/// Columns of the terminal that standard output ends in (120 when it does not say), or nothing when it is a pipe or
/// file. mpirun gives ranks a pseudo-terminal of its own, whatever its output is: there, its own standard output is
/// looked at.
std::optional<int> terminal_width();

}  // namespace llama_zero
