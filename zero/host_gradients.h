// The averaged gradients of the own shards in host memory, and the device memory through which they pass on their way
// there: optimizer offload (Ren et al., "ZeRO-Offload", USENIX ATC 2021, section 4).
//
// Exactly one copy lies on the host, in the accumulation dtype, label "host gradients". A shard goes down on the
// download stream as soon as it is complete; of a later pass of the step, what the earlier ones added up to comes back
// on the upload stream first, so that passes add up on the device with the bits that they have without offloading.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "zero/offload.h"
#include "zero/rank_context.h"
#include "zero/shard_squares.h"

namespace llama_zero {

class HostGradients {
 public:
  HostGradients(const RankContext& context, DType dtype, const OffloadPlan& plan);

  bool holds(int unit) const { return static_cast<bool>(shards_[static_cast<std::size_t>(unit)]); }
  /// Host memory of this rank's shard; what is there holds once `finish` has been passed.
  View shard(int unit) const { return shards_[static_cast<std::size_t>(unit)]; }
  ShardSquares& squares() { return squares_; }

  /// Later work of `download` may copy what `writer` has written so far.
  void after(Stream& writer);
  /// Elements [begin, begin + values.numel()) of the shard go to the host, on `download`.
  void download(int unit, std::int64_t begin, ConstView values);
  /// They come to the device, on `upload`, after all downloads of the unit that were given.
  void upload(int unit, std::int64_t begin, View destination);
  /// All of the unit's shard has been given to `download`.
  void mark_complete(int unit);

  /// Later work of `compute` finds everything on the host.
  void finish(Stream& compute);

 private:
  const RankContext& context_;
  ShardSquares squares_;
  std::vector<View> shards_;
  std::vector<std::unique_ptr<Event>> complete_;
  std::unique_ptr<Event> written_, finished_;
};

/// Slots on the device, used in turn, through which shards pass: one, or two so that one is filled while the other's
/// content travels. Label "gradients in flight".
class GradientSlots {
 public:
  /// Each slot has `elements`; so many units (`users`) come in every pass, always in one order. `host` must outlive the
  /// slots.
  GradientSlots(const RankContext& context, HostGradients& host, DType dtype, int slots, std::int64_t elements,
                int users);

  void begin_step(int passes);
  /// Memory for `elements` of unit's shard, which later work of `writer` may write. With `accumulate` it holds what the
  /// earlier passes added up to.
  View open(int unit, bool accumulate, Stream& writer);
  /// `writer` has completed the shard that was opened last, of `unit`: it goes to the host. `last`: of the step's last
  /// pass, whose squares count.
  void close(int unit, bool last, Stream& writer);
  /// Takes the squares of what was closed in a last pass.
  void settle(Stream& compute);

 private:
  struct Slot {
    View memory;
    View shard;          ///< of the unit opened last
    int loaded = -1;     ///< the unit whose sum so far is on its way up into this slot
    int unsquared = -1;  ///< the unit whose squares have not been taken
    int next = -1;       ///< the unit whose sum comes up when this content is no longer needed
    std::unique_ptr<Event> written, squared, uploaded, downloaded;
    std::vector<std::unique_ptr<Event>> tiles;  ///< of a download that an upload into the same slot follows
  };

  Slot& current() { return slots_[static_cast<std::size_t>(opened_ - 1) % slots_.size()]; }
  int next_user() const;
  void send_down(Slot& slot, int unit);
  void send_up(Slot& slot, int unit);

  const RankContext& context_;
  HostGradients& host_;
  int users_;
  std::vector<Slot> slots_;
  std::vector<int> order_;   ///< units in the order of their use in a pass
  std::vector<int> closed_;  ///< by unit: passes of this step
  int passes_ = 1;
  std::int64_t opened_ = 0;  ///< in this step
};

}  // namespace llama_zero
