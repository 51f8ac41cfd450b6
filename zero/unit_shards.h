// This rank's shard of every unit at stage 3, in device memory (label "weights") or, with offload_param, in host memory
// (label "host weights").
#pragma once

#include <cstdint>
#include <vector>

#include "zero/lease_plan.h"
#include "zero/rank_context.h"

namespace llama_zero {

class UnitShards {
 public:
  /// Zeros. The units for which `on_device` holds stay there; the others go to the host in their order while
  /// offload.max_in_cpu has room for the whole shard.
  UnitShards(const RankContext& context, const std::vector<bool>& on_device, DType dtype, const ParamOffload& offload);

  View operator[](int unit) const { return shards_[static_cast<std::size_t>(unit)]; }
  bool on_host(int unit) const { return on_host_[static_cast<std::size_t>(unit)]; }

  /// Copies a shard that is on the host to `device`, of its size, in pieces of offload.buffer_size elements.
  void bring(int unit, View device, Stream& stream) const;
  /// And back, in one copy.
  void take(int unit, ConstView device, Stream& stream) const;

 private:
  const RankContext& context_;
  std::int64_t piece_;
  std::vector<View> shards_;
  std::vector<bool> on_host_;
};

}  // namespace llama_zero
