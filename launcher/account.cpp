#include "launcher/account.h"

#include <fmt/format.h>

#include <utility>

#include "core/arena.h"
#include "core/worker_device.h"

namespace llama_zero {

AccountEntry& AccountEntry::operator+=(const AccountEntry& other) {
  calls += other.calls;
  bytes += other.bytes;
  ms += other.ms;
  wait_ms += other.wait_ms;
  return *this;
}

Account& Account::operator+=(const Account& other) {
  for (const auto& [op, entry] : other.collectives) collectives[op] += entry;
  for (const auto& [op, entry] : other.copies) copies[op] += entry;
  return *this;
}

AccountEntry Account::all_collectives() const {
  AccountEntry sum;
  for (const auto& [op, entry] : collectives) sum += entry;
  return sum;
}

namespace {

bool is_copy(const CommCall& call) { return call.op.starts_with("copy_"); }

}  // namespace

std::string describe(const std::map<std::string_view, AccountEntry>& entries) {
  std::string text;
  for (const auto& [op, entry] : entries) {
    if (!text.empty()) text += "; ";
    text += fmt::format("{} {} in {:.1f} ms (waited {:.1f} ms)", op,
                        format_bytes(static_cast<std::size_t>(entry.bytes)), entry.ms, entry.wait_ms);
  }
  return text;
}

AccountKeeper::AccountKeeper(Device& device, int ranks)
    : device_(device), alone_(ranks == 1), inline_work_(!works_beside_host(device)) {}

std::unique_ptr<Event> AccountKeeper::stamp(Stream& stream) {
  if (spare_.empty()) spare_.push_back(device_.create_timing_event());
  std::unique_ptr<Event> event = std::move(spare_.back());
  spare_.pop_back();
  event->record(stream);
  return event;
}

void AccountKeeper::begin(const CommCall& call, Kind kind) {
  Interval& interval = intervals_.emplace_back();
  interval.call = call;
  interval.kind = kind;
  if (call.stream != nullptr) {
    interval.begin = stamp(*call.stream);
  } else {
    interval.host_begin = std::chrono::steady_clock::now();
  }
}

void AccountKeeper::end() {
  Interval& interval = intervals_.back();
  if (interval.call.stream != nullptr) {
    interval.end = stamp(*interval.call.stream);
  } else {
    const auto time = std::chrono::steady_clock::now() - interval.host_begin;
    interval.ms = std::chrono::duration<double, std::milli>(time).count();
  }
}

void AccountKeeper::before(const CommCall& call) {
  if (!alone_) begin(call, Kind::kCall);
}
void AccountKeeper::after(const CommCall&) {
  if (!alone_) end();
}
void AccountKeeper::before_copy(const CommCall& call) { begin(call, Kind::kCall); }
void AccountKeeper::after_copy(const CommCall&) { end(); }
// Where the host does the work, the call has been waited for already.
void AccountKeeper::before_wait(const CommCall& call) {
  if (!inline_work_ && (!alone_ || is_copy(call))) begin(call, Kind::kWait);
}
void AccountKeeper::after_wait(const CommCall& call) {
  if (!inline_work_ && (!alone_ || is_copy(call))) end();
}

Account AccountKeeper::take(std::int64_t step) {
  Account account;
  while (!intervals_.empty() && intervals_.front().call.step <= step) {
    add(intervals_.front(), account);
    intervals_.pop_front();
  }
  total_ += account;
  return account;
}

void AccountKeeper::add(Interval& interval, Account& account) {
  if (interval.end) {
    interval.end->synchronize();
    interval.ms = interval.end->elapsed_ms(*interval.begin);
  }
  if (interval.begin) spare_.push_back(std::move(interval.begin));
  if (interval.end) spare_.push_back(std::move(interval.end));
  const CommCall& call = interval.call;
  auto& entries = is_copy(call) ? account.copies : account.collectives;
  if (interval.kind == Kind::kWait) {
    entries[call.op].wait_ms += interval.ms;
    return;
  }
  const bool waited = inline_work_ || !call.background;
  entries[call.op] += {1, call.bytes, interval.ms, waited ? interval.ms : 0.0};
}

}  // namespace llama_zero
