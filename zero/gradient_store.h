// The gradients of one rank: whole for stages 0 and 1, a shard for stages 2 and 3; in grad_accum_dtype at every stage.
//
// A reduction is an all-to-all of shards and one sum in rank order (Ops::reduce_pieces in fp32;
// zero/gradient_averaging.h says what is rounded when), the same at every stage, so with one pass a step all stages get
// the same bits. With several passes stages 0 and 1 add passes first and ranks at the boundary, stages 2 and 3 add
// ranks every pass.
//
// Labels: "gradients" what lasts from pass to pass, "buckets" what is in flight. Padding elements are zero throughout.
// Shards of offloaded units lie in host memory (zero/host_gradients.h).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "model/param_access.h"
#include "zero/gradient_averaging.h"
#include "zero/host_gradients.h"
#include "zero/rank_context.h"
#include "zero/shard_reducer.h"

namespace llama_zero {

struct GradientOptions {
  DType dtype = DType::kF32;                    ///< in which gradients add up
  std::int64_t reduce_bucket_size = 500000000;  ///< elements
  GradientAveraging averaging;
  /// Reductions run on the communication stream while the backward goes on, from a second buffer at stages 2 and 3;
  /// false: on the stream of the backward, which has one. No bit depends on it.
  bool overlap = true;
  OffloadPlan offload;  ///< units whose shards go to host memory; `on_host` may be empty: none
};

class GradientStore : public GradSink {
 public:
  /// Called with (unit, this rank's gradient, unpadded) at commit, before any reduction.
  using Hook = std::function<void(int unit, View gradient)>;
  void set_hook(Hook hook) { hook_ = std::move(hook); }

  /// The `passes` that follow belong to a new step: gradients start from nothing.
  void begin_step(int passes = 1);
  /// Collective. Ends the step's passes: `reduced` and `own_shard` hold for later work of `stream`. Throws Error when a
  /// unit was acquired and not committed, or got no gradient.
  virtual void finish(Stream& stream) = 0;
  /// Averaged gradient of what this rank's optimizer updates: the whole padded unit at stage 0, else the own shard; in
  /// host memory where the unit is offloaded, for a host that has waited for `finish`.
  virtual View reduced(int unit) = 0;
  /// Averaged gradient of the own shard: what the norm is taken of, at every stage. In host memory as `reduced`.
  virtual View own_shard(int unit) = 0;

  bool on_host(int unit) const { return host_ && host_->holds(unit); }
  /// Where the squares of offloaded shards are; those of others are missing. Null when nothing is offloaded.
  ShardSquares* squares() { return host_ ? &host_->squares() : nullptr; }

  UnitGradient acquire(int unit, Stream& stream) final;
  void commit(int unit, Stream& stream) final;

 protected:
  /// Of the pass that a unit is in.
  struct PassPlace {
    bool first = true, last = true;
  };

  GradientStore(const RankContext& context, const GradientOptions& options);
  virtual void begin(int /*passes*/) {}
  virtual UnitGradient open(int unit, bool first_pass, Stream& stream) = 0;
  virtual void close(int unit, View gradient, PassPlace pass, Stream& stream) = 0;
  void require_complete() const;

  const RankContext& context_;
  std::unique_ptr<HostGradients> host_;  ///< null when nothing is offloaded

 private:
  struct UnitProgress {
    View open;  ///< set between acquire and commit
    int commits = 0;
  };

  std::vector<UnitProgress> progress_;
  int passes_ = 1;
  Hook hook_;
};

/// Stages 0 and 1, and local accumulation: passes add up in full-size buffers, ranks at the boundary; with overlap from
/// the last pass's commits on. `whole_result` (stage 0): every rank gets the whole averaged gradient, by an all-gather
/// of the shards; nothing is offloaded then.
std::unique_ptr<GradientStore> make_full_gradient_store(const RankContext& context, const GradientOptions& options,
                                                        bool whole_result);

/// Stages 2 and 3: every commit is reduced into the own shard. `held_unit` >= 0 names a unit whose gradient the model
/// keeps open while it works on others (the table of tied embeddings): it gets a bucket of its own.
std::unique_ptr<GradientStore> make_sharded_gradient_store(const RankContext& context, const GradientOptions& options,
                                                           int held_unit);

}  // namespace llama_zero
