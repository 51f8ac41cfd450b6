// Stage 3's weights: every rank holds its shard of every unit; a unit is gathered when it is needed, or a little ahead.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "zero/lease_plan.h"
#include "zero/param_store.h"
#include "zero/unit_shards.h"

namespace llama_zero {

/// A unit is gathered into one of a fixed number of slots (label "leases") when it is prefetched or acquired, and given
/// back (and poisoned, where the arena poisons) by its last release. One that zero/lease_plan.h keeps for its second
/// use has a slot of its own. With offload_param a rank's shard is copied from the host into its place in the slot
/// first, and the other ranks' are gathered around it, so that the device holds nothing more than the slots.
///
/// Persistence goes by whole units: a unit travels in one all-gather, so a small norm inside a block costs nothing
/// extra and needs no copy of its own. A unit stays gathered when each of its parameters is within the threshold: the
/// head of a model with tied embeddings (its final norm), or every unit of a very small model. Shards, and with them
/// the optimizer and checkpoints, do not depend on it. Persistent units are not offloaded.
///
/// With one rank a shard on the device is the unit: nothing is gathered.
class LeasedParamStore final : public ParamStore {
 public:
  LeasedParamStore(const RankContext& context, const ParamTable& table, DType dtype, const LeaseOptions& options,
                   const ParamOffload& offload);
  /// For tests: `persistent[unit]` says which units stay gathered; `tied` lets two units be acquired at once.
  LeasedParamStore(const RankContext& context, const std::vector<bool>& persistent, bool tied, DType dtype,
                   const LeaseOptions& options, const ParamOffload& offload);

  /// Collective: gathers `unit`, and the units after it in the order of the pass within the limits, into free slots.
  void prefetch(int unit) override;
  /// Collective when the unit is not gathered yet. Throws Error when all slots are acquired.
  ConstView acquire(int unit, Stream& stream) override;
  void release(int unit, Stream& stream) override;
  View own(int unit) override;
  bool on_host(int unit) const override { return shards_.on_host(unit); }
  void expect_another_pass(bool another) override { another_pass_ = another; }
  View begin_update(int unit, Stream& stream) override;
  void end_update(int unit, Stream& stream) override;
  void publish(Stream& stream) override;
  std::int64_t gathered_elements_peak() const override { return gathered_peak_; }
  int slot_count() const { return static_cast<int>(slots_.size()); }

 private:
  struct Slot {
    View memory;
    int home = -1;      ///< the unit that alone comes here, or -1: any that has no slot of its own
    int unit = -1;      ///< -1: free
    int acquired = 0;   ///< 0 with a unit: prefetched, or kept
    bool kept = false;  ///< waits for its second use
    std::unique_ptr<Event> uploaded, ready, released, drained;
  };

  void allocate_residents(DType dtype);
  void allocate_slots(DType dtype, const LeaseOptions& options, std::int64_t most_slots, bool tied);
  void add_slot(int home, DType dtype, std::int64_t numel);
  bool is_resident(int unit) const { return static_cast<bool>(resident_[static_cast<std::size_t>(unit)]); }
  int head() const { return context_.layout.unit_count() - 1; }
  void note_use(int unit);
  void gather_ahead(int first, int last);
  Slot* find(int unit);
  Slot* free_slot(int unit);
  Slot& slot_for(int unit);
  Slot& target_slot(int unit);
  void gather(Slot& slot, int unit, Stream& gathers, Stream& uploads);
  void drop(Slot& slot);
  bool may_prefetch() const;

  const RankContext& context_;
  LeaseOptions options_;
  std::vector<bool> persistent_;
  UnitShards shards_;
  std::vector<View> resident_;  ///< whole units that are always there: persistent ones; with one rank device shards
  std::vector<int> resident_acquired_;
  std::vector<bool> kept_;  ///< by unit: has a slot of its own
  int shared_slots_ = 0;    ///< the first of slots_
  std::vector<Slot> slots_;
  std::unique_ptr<Event> updated_, drained_;
  bool backward_ = false;  ///< the pass has reached its head
  bool another_pass_ = false;
  int head_acquired_ = 0;
  std::int64_t gathered_ = 0, gathered_peak_ = 0;
};

}  // namespace llama_zero
