// Moving whole units of values between the host and what the ranks hold: initialisation, import, export.
#pragma once

#include <span>
#include <vector>

#include "model/replicated_params.h"
#include "zero/optimizer.h"

namespace llama_zero {

/// Host traffic in chunks through one small device buffer, label "staging".
class MasterIo {
 public:
  explicit MasterIo(const RankContext& context);

  // `own`, `target`: device memory, or host memory, which the copies of the device read and write too; `on_host` says
  // so where it matters.

  /// Fills the masters of what this rank updates; padding becomes zero.
  void write(ShardedOptimizer& optimizer, const UnitReader& read, Stream& stream);
  /// The same for one unit's values of any kind: `target` fp32, the whole padded unit or this rank's shard.
  void write(int unit, View target, const UnitReader& read, Stream& stream);

  /// Collective: a whole unit (unpadded) of shard-wise or whole values. `own` fp32: the whole padded unit or this
  /// rank's shard. `out` is resized to the unit, on every rank or on rank `root` alone: on the others it stays as it
  /// is.
  void gather(int unit, ConstView own, bool on_host, int root, std::vector<float>& out, Stream& stream);

  /// Copies values of this rank's shard, [begin, begin + out.size()) counted from the shard's first, and waits for
  /// them. `own` as for gather.
  void read_shard(int unit, ConstView own, std::int64_t begin, std::span<float> out, Stream& stream);

  /// Widens `values`, the whole unit in any floating dtype on this rank, to fp32 on the host.
  void read(int unit, ConstView values, std::vector<float>& out, Stream& stream);

 private:
  void gather_everywhere(const UnitPartition& partition, ConstView own, bool on_host, View out, Stream& stream);
  void gather_on(int root, const UnitPartition& partition, ConstView own, bool on_host, View out, Stream& stream);
  void send_to(int root, ConstView own, bool on_host, Stream& stream);
  void receive_from(int rank, View out, Stream& stream);

  const RankContext& context_;
  View staging_;
};

}  // namespace llama_zero
