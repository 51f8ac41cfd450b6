// The model's copy of the weights on one rank: whole for stages 0 to 2, a shard and leased units for stage 3
// (zero/leased_param_store.h).
//
// Both stores serve the model as a ParamSource and the optimizer through `own` and `publish`. Weights are kept in the
// model's dtype, label "weights"; the padding of every unit is zero.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "model/param_access.h"
#include "zero/rank_context.h"

namespace llama_zero {

class ParamStore : public ParamSource {
 public:
  /// The weights this rank updates: the whole padded unit at stage 0, its own shard at stages 1 to 3.
  virtual View own(int unit) = 0;
  /// Whether `own` is host memory (offload_param): padding is zero there too.
  virtual bool on_host(int /*unit*/) const { return false; }
  /// An update of `own` by work of `stream`: writes all of what begin_update returns, device memory of the same size,
  /// then calls end_update. With `own` on the device that is `own`; else it is copied there by work of the download
  /// stream, which publish waits for. Units one after the other, none acquired.
  virtual View begin_update(int unit, Stream& /*stream*/) { return own(unit); }
  virtual void end_update(int /*unit*/, Stream& /*stream*/) {}
  /// Whether the pass that comes next is followed by another with the same weights, for which the last part of the
  /// backward pass may gather ahead.
  virtual void expect_another_pass(bool /*another*/) {}
  /// Collective. `own` of every unit has been rewritten by work of `stream`: afterwards readers on every rank see the
  /// new weights. Throws Error while a unit is acquired.
  virtual void publish(Stream& stream) = 0;
  /// Highest number of elements (unpadded) that were gathered from other ranks' shards at once; 0 for stages 0 to 2.
  virtual std::int64_t gathered_elements_peak() const = 0;
};

/// Stages 0 to 2: every rank holds every unit, one flat padded buffer each.
class ReplicatedParamStore final : public ParamStore {
 public:
  /// `sharded_update`: stages 1 and 2, where a rank updates its shard and gathers the others' in publish. `overlap`: on
  /// the communication stream, unit by unit, and a unit's first reader waits for that unit alone; so the gathers run
  /// beside the next forward pass.
  ReplicatedParamStore(const RankContext& context, DType dtype, bool sharded_update, bool overlap);

  void prefetch(int) override {}
  ConstView acquire(int unit, Stream& stream) override;
  void release(int unit, Stream& stream) override;
  View own(int unit) override;
  void publish(Stream& stream) override;
  std::int64_t gathered_elements_peak() const override { return 0; }

 private:
  const RankContext& context_;
  bool sharded_update_, overlap_;
  std::vector<View> units_;
  std::vector<std::unique_ptr<Event>> gathered_;  ///< by unit; with overlap only
  std::vector<bool> on_their_way_;                ///< gathers that no reader has waited for
  std::unique_ptr<Event> updated_;
  std::vector<int> acquired_;
};

}  // namespace llama_zero
