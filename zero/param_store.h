// The model's copy of the weights on one rank: whole for stages 0 to 2, a shard and leased units for stage 3.
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
  /// Collective. `own` of every unit has been rewritten by work of `stream`: afterwards readers on every rank see the
  /// new weights. Throws Error while a unit is acquired.
  virtual void publish(Stream& stream) = 0;
  /// Highest number of elements (unpadded) that were gathered from other ranks' shards at once; 0 for stages 0 to 2.
  virtual std::int64_t gathered_elements_peak() const = 0;
};

/// Stages 0 to 2: every rank holds every unit, one flat padded buffer each.
class ReplicatedParamStore final : public ParamStore {
 public:
  /// `sharded_update`: stages 1 and 2, where a rank updates its shard and gathers the others' in publish.
  ReplicatedParamStore(const RankContext& context, DType dtype, bool sharded_update);

  void prefetch(int) override {}
  ConstView acquire(int unit, Stream& stream) override;
  void release(int unit, Stream& stream) override;
  View own(int unit) override;
  void publish(Stream& stream) override;
  std::int64_t gathered_elements_peak() const override { return 0; }

 private:
  const RankContext& context_;
  bool sharded_update_;
  std::vector<View> units_;
  std::vector<int> acquired_;
};

struct LeaseOptions {
  /// A unit all of whose parameters have at most this many elements stays gathered.
  std::int64_t param_persistence_threshold = 0;
  /// Elements gathered ahead of their use; 0: none. At least one unit when > 0.
  std::int64_t prefetch_bucket_size = 0;
};

/// Stage 3: every rank holds its shard of every unit; a unit is gathered into one of a fixed number of slots when it is
/// prefetched or acquired, and given back (and poisoned, where the arena poisons) by its last release.
///
/// Persistence goes by whole units: a unit travels in one all-gather, so a small norm inside a block costs nothing
/// extra and needs no copy of its own. A unit stays gathered when each of its parameters is within the threshold: the
/// head of a model with tied embeddings (its final norm), or every unit of a very small model. Shards, and with them
/// the optimizer and checkpoints, do not depend on it.
///
/// Slots hold the largest unit that is not persistent. Their number is 1 + prefetched units, and at least 2: the head
/// of a tied model reads two units at once. With one rank nothing is gathered: the shard is the unit.
class LeasedParamStore final : public ParamStore {
 public:
  LeasedParamStore(const RankContext& context, const ParamTable& table, DType dtype, const LeaseOptions& options);
  /// For tests: `persistent[unit]` says which units stay gathered.
  LeasedParamStore(const RankContext& context, const std::vector<bool>& persistent, DType dtype,
                   std::int64_t prefetch_bucket_size);

  /// Collective: gathers `unit`, and the units after it in the direction of travel that fit the prefetch bucket, into
  /// free slots.
  void prefetch(int unit) override;
  /// Collective when the unit is not gathered yet. Throws Error when all slots are acquired.
  ConstView acquire(int unit, Stream& stream) override;
  void release(int unit, Stream& stream) override;
  View own(int unit) override;
  void publish(Stream& stream) override;
  std::int64_t gathered_elements_peak() const override { return gathered_peak_; }
  int slot_count() const { return static_cast<int>(slots_.size()); }

 private:
  struct Slot {
    View memory;
    int unit = -1;     ///< -1: free
    int acquired = 0;  ///< 0 with a unit: prefetched, not used yet
    std::unique_ptr<Event> ready, released;
  };

  void allocate(DType dtype);
  void allocate_slots(DType dtype);
  bool is_resident(int unit) const { return static_cast<bool>(resident_[static_cast<std::size_t>(unit)]); }
  Slot* find(int unit);
  Slot* free_slot();
  Slot& slot_for(int unit);
  void gather(Slot& slot, int unit);
  void drop(Slot& slot);
  std::int64_t prefetched_elements() const;

  const RankContext& context_;
  std::int64_t prefetch_bucket_size_;
  std::vector<bool> persistent_;
  std::vector<View> shards_;
  std::vector<View> resident_;  ///< whole units that are always there: persistent ones; with one rank the shards
  std::vector<int> resident_acquired_;
  std::vector<Slot> slots_;
  std::unique_ptr<Event> updated_;
  int last_prefetch_ = -1;
  std::int64_t gathered_ = 0, gathered_peak_ = 0;
};

/// Which units stay gathered under `threshold`.
std::vector<bool> persistent_units(const ParamTable& table, std::int64_t threshold);

}  // namespace llama_zero
