#include "launcher/model_transfer.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace llama_zero {
namespace {

double gb(std::int64_t bytes) { return static_cast<double>(bytes) / 1e9; }

}  // namespace

void TransferMeter::sample() {
  const HostUsage now = host_usage();
  highest_.anonymous = std::max(highest_.anonymous, now.anonymous);
  highest_.shared = std::max(highest_.shared, now.shared);
  highest_.pinned = std::max(highest_.pinned, now.pinned);
}

Engine::UnitReader TransferMeter::watch(Engine::UnitReader reader) {
  return [this, reader = std::move(reader)](int unit, std::int64_t begin, std::span<float> out) {
    reader(unit, begin, out);
    sample();
  };
}

ModelTransfer TransferMeter::finish(std::int64_t bytes, std::int64_t arena_bytes, const HostGroup& group) {
  sample();
  ModelTransfer transfer;
  transfer.bytes = bytes;
  group.barrier();
  transfer.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  transfer.highest = {group.max(highest_.anonymous), group.max(highest_.shared), group.max(highest_.pinned)};
  transfer.arena_bytes = arena_bytes;
  return transfer;
}

std::string describe_rate(const ModelTransfer& transfer) {
  return fmt::format("{:.2f} GB in {:.1f} s ({:.2f} GB/s)", gb(transfer.bytes), transfer.seconds,
                     transfer.gb_per_second());
}

std::string describe_memory(const ModelTransfer& transfer) {
  const HostUsage& highest = transfer.highest;
  std::string text =
      fmt::format("host memory of a rank at most {:.2f} GB anonymous, {:.2f} GB shared, {:.2f} GB pinned",
                  gb(highest.anonymous), gb(highest.shared), gb(highest.pinned));
  if (transfer.arena_bytes > 0) text += fmt::format(" (its arena {:.2f} GB)", gb(transfer.arena_bytes));
  return text;
}

}  // namespace llama_zero
