// Moving whole units of values between the host and what the ranks hold: initialisation, import, export.
#pragma once

#include <vector>

#include "model/replicated_params.h"
#include "zero/optimizer.h"

namespace llama_zero {

/// Host traffic in chunks through one small device buffer, label "staging".
class MasterIo {
 public:
  explicit MasterIo(const RankContext& context);

  /// Fills the masters of what this rank updates; padding becomes zero.
  void write(ShardedOptimizer& optimizer, const UnitReader& read, Stream& stream);
  /// The same for one unit's values of any kind: `target` fp32, the whole padded unit or this rank's shard.
  void write(int unit, View target, const UnitReader& read, Stream& stream);

  /// Collective: a whole unit (unpadded) of shard-wise or whole values. `own` fp32: the whole padded unit or this
  /// rank's shard. `out` is resized to the unit on every rank, or stays empty where `wanted` is false.
  void gather(int unit, ConstView own, bool wanted, std::vector<float>& out, Stream& stream);

  /// Widens `values`, the whole unit in any floating dtype on this rank, to fp32 on the host.
  void read(int unit, ConstView values, std::vector<float>& out, Stream& stream);

 private:
  const RankContext& context_;
  View staging_;
};

}  // namespace llama_zero
