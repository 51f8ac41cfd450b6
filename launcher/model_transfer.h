// A model read from a Hugging Face folder or written to one: how fast, and what host memory it took meanwhile.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "launcher/host_group.h"
#include "launcher/host_usage.h"
#include "zero/engine.h"

namespace llama_zero {

struct ModelTransfer {
  std::int64_t bytes = 0;  ///< of the weights in the folder's files
  double seconds = 0.0;
  HostUsage highest;             ///< each the highest seen of any rank while it went on
  std::int64_t arena_bytes = 0;  ///< of these, what a rank's arena had handed out on the host; 0 on a GPU
  double gb_per_second() const { return static_cast<double>(bytes) / 1e9 / (seconds > 0.0 ? seconds : 1e-9); }
};

struct ModelTransfers {
  std::optional<ModelTransfer> imported;  ///< nothing: random weights, or those of a checkpoint
  std::optional<ModelTransfer> exported;  ///< nothing: no final model was asked for
};

/// Watches one transfer, from its making to `finish`.
class TransferMeter {
 public:
  /// Call it often: it looks at the process.
  void sample();
  /// `reader`, watched. The meter must outlive what is returned.
  Engine::UnitReader watch(Engine::UnitReader reader);
  /// Collective.
  ModelTransfer finish(std::int64_t bytes, std::int64_t arena_bytes, const HostGroup& group);

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  HostUsage highest_;
};

/// "13.48 GB in 9.1 s (1.48 GB/s)".
std::string describe_rate(const ModelTransfer& transfer);
/// "host memory of a rank at most 0.31 GB anonymous, 0.02 GB shared, 0.00 GB pinned"; 1 GB = 10^9 bytes.
std::string describe_memory(const ModelTransfer& transfer);

}  // namespace llama_zero
