// comms_logger: how often, how large and how fast this rank's collectives were.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "launcher/monitor/monitor_config.h"
#include "zero/comm_observer.h"
#include "zero/step_observer.h"

namespace llama_zero {

/// The calls of one collective with one message size.
struct CommRecord {
  std::int64_t count = 0;
  double total_ms = 0.0;
  std::vector<double> latest_ms;  ///< of the last kKeptLatencies calls, in no order
};
constexpr std::size_t kKeptLatencies = 4096;

/// Gigabits (10^9) per second. `bytes` is CommCall::bytes, `ranks` n; DeepSpeed's formulas (utils/comms_logging.py,
/// after NCCL's performance notes): all_gather: s = bytes * n, alg = s / t, bus = alg * (n - 1) / n; all_to_all: s =
/// bytes, the same; others: alg = bus = bytes / t. 0 for a time of 0.
struct Bandwidth {
  double algorithm = 0.0, bus = 0.0;
};
Bandwidth bandwidth_of(std::string_view op, std::int64_t bytes, double milliseconds, int ranks);

/// Mean without the lowest and highest tenth: round(n / 10) values are left out at each end (halves to even).
double trimmed_mean(std::vector<double> values);

/// "1.5 KB": two decimals at most, 1 KB = 1024 B; "0B" for nothing.
std::string format_message_size(std::int64_t bytes);

/// True when `prof_ops` names `op`: by our name, or by DeepSpeed's name of the collective whose work `op` does here
/// (reductions are all-to-alls: zero/gradient_store.h).
bool names_op(const std::vector<std::string>& prof_ops, std::string_view op);

/// Waits for the stream before and after every call that it logs: a measurement, not a way to train.
class CommsLog final : public CommObserver, public StepObserver {
 public:
  /// `print` gets the line of each call, newline included, when `config.verbose`.
  CommsLog(CommsLoggerConfig config, int ranks, std::function<void(std::string_view)> print);

  void before(const CommCall& call) override;
  void after(const CommCall& call) override;
  /// With `debug` the phase of the step is the caller's name.
  void at(StepPoint point, int unit, Stream& compute) override;

  using Records = std::map<std::string, std::map<std::int64_t, CommRecord>>;
  /// By name (with `debug`: and caller), then by bytes.
  const Records& records() const { return records_; }
  /// DeepSpeed's summary: a line a collective, below it one a message size.
  std::string table() const;

 private:
  bool logs(const CommCall& call) const;
  std::string name_of(const CommCall& call) const;

  CommsLoggerConfig config_;
  int ranks_;
  std::function<void(std::string_view)> print_;
  std::string_view phase_ = "setup";
  std::chrono::steady_clock::time_point start_;
  Records records_;
};

}  // namespace llama_zero
