// The gradients of one rank: whole for stages 0 and 1, a shard for stages 2 and 3; in grad_accum_dtype at every stage.
//
// A reduction is an all-to-all of shards and one sum in rank order (Ops::reduce_pieces in fp32;
// zero/gradient_averaging.h says what is rounded when), the same at every stage, so with one pass a step all stages get
// the same bits. With several passes stages 0 and 1 add passes first and ranks at the boundary, stages 2 and 3 add
// ranks every pass.
//
// Labels: "gradients" what lasts from pass to pass, "buckets" what is in flight. Padding elements are zero throughout.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "model/param_access.h"
#include "zero/gradient_averaging.h"
#include "zero/rank_context.h"

namespace llama_zero {

struct GradientOptions {
  DType dtype = DType::kF32;                    ///< in which gradients add up
  std::int64_t reduce_bucket_size = 500000000;  ///< elements
  GradientAveraging averaging;
};

/// Averages the ranks' gradients of a unit and leaves each rank its shard. Moves `bucket` elements at a time (all
/// ranks' pieces together): a bucket smaller than a unit is piece j of every rank's shard, so who owns what never
/// depends on it.
class ShardReducer {
 public:
  /// With one rank nothing is allocated. `reduce_bucket_size` in elements, at least one aligned piece a rank is taken.
  ShardReducer(const RankContext& context, const GradientOptions& options);

  /// Collective. shard (+)= average over ranks of their `whole` [padded]; `shard` may be this rank's part of `whole`.
  /// One rank: nothing happens unless the shard lies elsewhere.
  void reduce(int unit, ConstView whole, View shard, bool accumulate, Stream& stream);

 private:
  void exchange(std::int64_t size, ConstView whole, std::int64_t begin, View received, Stream& stream);
  void sum(View received, View shard, bool accumulate, Stream& stream);

  const RankContext& context_;
  AveragingFactors factors_;
  bool round_sum_;
  std::int64_t piece_ = 0;  ///< elements of every rank's shard that move at once
  View outgoing_;           ///< wire dtype; absent when gradients travel as they are
  View received_;
};

class GradientStore : public GradSink {
 public:
  /// Called with (unit, this rank's gradient, unpadded) at commit, before any reduction.
  using Hook = std::function<void(int unit, View gradient)>;
  void set_hook(Hook hook) { hook_ = std::move(hook); }

  /// The passes that follow belong to a new step: gradients start from nothing.
  void begin_step();
  /// Collective. Ends the step's passes: `reduced` and `own_shard` hold for later work of `stream`. Throws Error when a
  /// unit was acquired and not committed, or got no gradient.
  virtual void finish(Stream& stream) = 0;
  /// Averaged gradient of what this rank's optimizer updates: the whole padded unit at stage 0, else the own shard.
  virtual View reduced(int unit) = 0;
  /// Averaged gradient of the own shard: what the norm is taken of, at every stage.
  virtual View own_shard(int unit) = 0;

  UnitGradient acquire(int unit, Stream& stream) final;
  void commit(int unit, Stream& stream) final;

 protected:
  explicit GradientStore(const RankContext& context);
  virtual UnitGradient open(int unit, bool first_pass, Stream& stream) = 0;
  virtual void close(int unit, View gradient, bool first_pass, Stream& stream) = 0;
  void require_complete() const;

  const RankContext& context_;

 private:
  struct UnitProgress {
    View open;  ///< set between acquire and commit
    int commits = 0;
  };

  std::vector<UnitProgress> progress_;
  Hook hook_;
};

/// Stages 0 and 1: passes add up in full-size buffers, ranks at the boundary. `whole_result` (stage 0): every rank gets
/// the whole averaged gradient, by an all-gather of the shards.
std::unique_ptr<GradientStore> make_full_gradient_store(const RankContext& context, const GradientOptions& options,
                                                        bool whole_result);

/// Stages 2 and 3: every commit is reduced into the own shard. `held_unit` >= 0 names a unit whose gradient the model
/// keeps open while it works on others (the table of tied embeddings): it gets a bucket of its own.
std::unique_ptr<GradientStore> make_sharded_gradient_store(const RankContext& context, const GradientOptions& options,
                                                           int held_unit);

}  // namespace llama_zero
