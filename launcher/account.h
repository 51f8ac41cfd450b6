// What a rank's collectives and host copies cost: bytes, time, and the time for which the computation stood still.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/device.h"
#include "zero/comm_observer.h"

namespace llama_zero {

/// The calls of one kind.
struct AccountEntry {
  std::int64_t calls = 0;
  std::int64_t bytes = 0;  ///< CommCall::bytes, added up
  double ms = 0.0;         ///< where they ran, from one end to the other
  /// How long the computation stood still for them: the time itself of what runs on the computation's stream or, as on
  /// the CPU, on its thread; for what runs beside it the time that the stream spends in waits.
  double wait_ms = 0.0;

  AccountEntry& operator+=(const AccountEntry& other);
};

/// By CommCall::op.
struct Account {
  std::map<std::string_view, AccountEntry> collectives, copies;

  Account& operator+=(const Account& other);
  AccountEntry all_collectives() const;
};

/// "all_gather 12.0 MB in 3.1 ms (waited 1.2 ms); all_to_all ...": empty when there is none.
std::string describe(const std::map<std::string_view, AccountEntry>& entries);

/// Keeps a rank's account, from events on the streams where the work runs, which it reads when a step is over.
class AccountKeeper final : public CommObserver {
 public:
  /// `ranks` 1: a collective is a copy within the device and nothing to account for.
  AccountKeeper(Device& device, int ranks);

  void before(const CommCall& call) override;
  void after(const CommCall& call) override;
  void before_copy(const CommCall& call) override;
  void after_copy(const CommCall& call) override;
  void before_wait(const CommCall& call) override;
  void after_wait(const CommCall& call) override;

  /// What came since the last call of this, up to step `step` with it. That step must be over; waits for its last
  /// event.
  Account take(std::int64_t step);
  /// What take() has returned so far.
  const Account& total() const { return total_; }

 private:
  enum class Kind { kCall, kWait };
  struct Interval {
    CommCall call;
    Kind kind = Kind::kCall;
    std::unique_ptr<Event> begin, end;  ///< null for a barrier, which the host's clock times
    std::chrono::steady_clock::time_point host_begin;
    double ms = 0.0;
  };

  void begin(const CommCall& call, Kind kind);
  void end();
  std::unique_ptr<Event> stamp(Stream& stream);
  void add(Interval& interval, Account& account);

  Device& device_;
  bool alone_;
  bool inline_work_;  ///< the host does it: nothing runs beside the computation
  std::deque<Interval> intervals_;
  std::vector<std::unique_ptr<Event>> spare_;
  Account total_;
};

}  // namespace llama_zero
