#include "zero/bench/limit.h"

#include <algorithm>

namespace llama_zero::bench {
namespace {

constexpr int kWarmUps = 3;
constexpr int kTimedReplays = 3;
constexpr int kCopies = 30;
constexpr std::int64_t kCopyAlignment = 512;

}  // namespace

Samples summarise(std::vector<double> milliseconds) {
  std::ranges::sort(milliseconds);
  const auto at = [&](std::size_t tenths) { return milliseconds[(milliseconds.size() - 1) * tenths / 10]; };
  return {at(5), (at(9) - at(1)) / at(5)};
}

LimitReplay::LimitReplay(Device& device, Ops& library, Arena& arena)
    : device_(device),
      library_(library),
      stream_(device.create_stream("limit")),
      from_(arena.allocate("copies", DType::kU8, kScratchBytes)),
      to_(arena.allocate("copies", DType::kU8, kScratchBytes)) {
  device_.fill_bytes(from_, 0x5a, *stream_);
}

double LimitReplay::copy_bytes_per_second() {
  const auto begin = device_.create_timing_event();
  const auto end = device_.create_timing_event();
  std::vector<double> samples;
  for (int i = 0; i < kWarmUps + kCopies; ++i) {
    begin->record(*stream_);
    device_.copy(from_, to_, *stream_);
    end->record(*stream_);
    end->synchronize();
    if (i >= kWarmUps) samples.push_back(end->elapsed_ms(*begin));
  }
  return 2.0 * static_cast<double>(kScratchBytes) / (summarise(samples).median_ms * 1e-3);
}

StepLimit LimitReplay::measure(const std::vector<RecordedOp>& ops, int steps) {
  std::vector<std::unique_ptr<Event>> ends;
  for (int i = 0; i < kWarmUps + steps + 1; ++i) ends.push_back(device_.create_timing_event());
  ends.front()->record(*stream_);
  for (int i = 1; i < static_cast<int>(ends.size()); ++i) {
    replay(ops);
    ends[static_cast<std::size_t>(i)]->record(*stream_);
  }
  stream_->synchronize();
  std::vector<double> samples;
  for (std::size_t i = kWarmUps + 1; i < ends.size(); ++i) samples.push_back(ends[i]->elapsed_ms(*ends[i - 1]));

  StepLimit limit{summarise(samples), std::vector<double>(ops.size())};
  std::vector<std::unique_ptr<Event>> begins;
  for (std::size_t i = 0; i <= ops.size(); ++i) begins.push_back(device_.create_timing_event());
  for (int round = 0; round < kTimedReplays; ++round) {
    for (std::size_t i = 0; i < ops.size(); ++i) {
      begins[i]->record(*stream_);
      replay(ops[i]);
    }
    begins.back()->record(*stream_);
    stream_->synchronize();
    for (std::size_t i = 0; i < ops.size(); ++i) {
      limit.op_ms[i] += begins[i + 1]->elapsed_ms(*begins[i]) / kTimedReplays;
    }
  }
  return limit;
}

void LimitReplay::replay(const std::vector<RecordedOp>& ops) {
  for (const RecordedOp& op : ops) replay(op);
}

void LimitReplay::replay(const RecordedOp& op) {
  if (op.rule == LimitRule::kLibrary) op.call(library_, *stream_);
  if (op.rule == LimitRule::kBytes) move_bytes(op.bytes);
}

void LimitReplay::move_bytes(double bytes) {
  auto left = static_cast<std::int64_t>(bytes / 2.0) / kCopyAlignment * kCopyAlignment;
  while (left > 0) {
    const std::int64_t count = std::min(left, kScratchBytes - next_);
    device_.copy(from_.slice(next_, count), to_.slice(next_, count), *stream_);
    next_ = (next_ + count) % kScratchBytes;
    left -= count;
  }
}

}  // namespace llama_zero::bench
