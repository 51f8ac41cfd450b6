#include "launcher/monitor/comms_log.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <utility>

#include "launcher/monitor/deepspeed_text.h"
#include "launcher/schema.h"

namespace llama_zero {
namespace {

// A collective of this program, and the names of DeepSpeed's whose work it does.
struct OpNames {
  std::string_view op, deepspeed;
};
constexpr std::array<OpNames, 3> kOpNames = {{
    {"all_gather", "all_gather_into_tensor|all_gather_object|all_gather_coalesced"},
    {"all_to_all", "all_to_all_single|all_reduce|all_reduce_coalesced|reduce_scatter|reduce_scatter_tensor|reduce"},
    {"broadcast", "broadcast_object_list"},
}};

std::string_view phase_after(StepPoint point) {
  switch (point) {
    case StepPoint::kPass:
    case StepPoint::kUnitForward:
      return "forward";
    case StepPoint::kHead:
    case StepPoint::kBackward:
      return "backward";
    case StepPoint::kPassEnd:
      return "reduce_gradients";
    case StepPoint::kReduced:
      return "gradient_norm";
    case StepPoint::kDecided:
      return "optimizer";
    case StepPoint::kUpdated:
      return "gather_weights";
    case StepPoint::kPublished:
      return "between_steps";
  }
  return "between_steps";
}

}  // namespace

Bandwidth bandwidth_of(std::string_view op, std::int64_t bytes, double milliseconds, int ranks) {
  if (milliseconds <= 0.0) return {};
  const double n = ranks;
  const double size = static_cast<double>(bytes) * (op == "all_gather" ? n : 1.0);
  const double gigabits = size * 8.0 / (milliseconds * 1e6);
  const bool among_all = op == "all_gather" || op == "all_to_all";
  return {gigabits, among_all ? gigabits * (n - 1.0) / n : gigabits};
}

double trimmed_mean(std::vector<double> values) {
  if (values.empty()) return 0.0;
  std::ranges::sort(values);
  const auto cut = static_cast<std::ptrdiff_t>(std::nearbyint(0.1 * static_cast<double>(values.size())));
  const double sum = std::accumulate(values.begin() + cut, values.end() - cut, 0.0);
  return sum / static_cast<double>(static_cast<std::ptrdiff_t>(values.size()) - 2 * cut);
}

std::string format_message_size(std::int64_t bytes) {
  if (bytes <= 0) return "0B";
  constexpr std::array<const char*, 6> kUnits = {"B", "KB", "MB", "GB", "TB", "PB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; value >= 1024.0 && unit + 1 < kUnits.size(); ++unit) value /= 1024.0;
  return fmt::format("{} {}", python_round(value), kUnits[unit]);
}

bool names_op(const std::vector<std::string>& prof_ops, std::string_view op) {
  const auto* names = std::ranges::find(kOpNames, op, &OpNames::op);
  return std::ranges::any_of(prof_ops, [&](const std::string& wanted) {
    return wanted == op || (names != kOpNames.end() && list_contains(names->deepspeed, wanted));
  });
}

CommsLog::CommsLog(CommsLoggerConfig config, int ranks, std::function<void(std::string_view)> print)
    : config_(std::move(config)), ranks_(ranks), print_(std::move(print)) {}

void CommsLog::at(StepPoint point, int, Stream&) { phase_ = phase_after(point); }

bool CommsLog::logs(const CommCall& call) const { return config_.prof_all || names_op(config_.prof_ops, call.op); }

std::string CommsLog::name_of(const CommCall& call) const {
  return config_.debug ? fmt::format("{} | [Caller Func: {}]", call.op, phase_) : std::string(call.op);
}

void CommsLog::before(const CommCall& call) {
  if (!logs(call)) return;
  if (call.stream != nullptr) call.stream->synchronize();
  start_ = std::chrono::steady_clock::now();
}

void CommsLog::after(const CommCall& call) {
  if (!logs(call)) return;
  if (call.stream != nullptr) call.stream->synchronize();
  const double ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start_).count();
  const std::string name = name_of(call);
  CommRecord& record = records_[name][call.bytes];
  if (record.latest_ms.size() < kKeptLatencies) {
    record.latest_ms.push_back(ms);
  } else {
    record.latest_ms[static_cast<std::size_t>(record.count) % kKeptLatencies] = ms;
  }
  record.count += 1;
  record.total_ms += ms;
  if (!config_.verbose) return;
  const Bandwidth bandwidth = bandwidth_of(call.op, call.bytes, ms, ranks_);
  print_(fmt::format("comm op: {} | time (ms): {:.2f} | msg size: {} | algbw (Gbps): {:.2f} | busbw (Gbps): {:.2f}\n",
                     name, ms, format_message_size(call.bytes), bandwidth.algorithm, bandwidth.bus));
}

std::string CommsLog::table() const {
  std::string text = fmt::format("{:<20}{:<20}{:<20}{:<20}{:<20}{:<20}{:<20}\n", "Comm. Op", "Message Size", "Count",
                                 "Total Latency(ms)", "Avg Latency(ms)", "tput_avg (Gbps)", "busbw_avg (Gbps)");
  for (const auto& [name, sizes] : records_) {
    text += name + "\n";
    const std::string_view op = std::string_view(name).substr(0, name.find(" | "));
    for (const auto& [bytes, record] : sizes) {
      std::vector<double> algorithm, bus;
      for (const double ms : record.latest_ms) {
        const Bandwidth bandwidth = bandwidth_of(op, bytes, ms, ranks_);
        algorithm.push_back(bandwidth.algorithm);
        bus.push_back(bandwidth.bus);
      }
      text += fmt::format("{:<20}{:<20}{:<20}{:<20.2f}{:<20.2f}{:<20.2f}{:<20.2f}\n", "", format_message_size(bytes),
                          record.count, record.total_ms, trimmed_mean(record.latest_ms),
                          trimmed_mean(std::move(algorithm)), trimmed_mean(std::move(bus)));
    }
  }
  return text;
}

}  // namespace llama_zero
