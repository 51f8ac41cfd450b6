#include "zero/gradient_store.h"

namespace llama_zero {
namespace {

std::size_t index(int unit) { return static_cast<std::size_t>(unit); }

std::int64_t largest_shard(const Layout& layout) {
  std::int64_t largest = 0;
  for (int unit = 0; unit < layout.unit_count(); ++unit) largest = std::max(largest, layout[unit].shard);
  return largest;
}

}  // namespace

ShardReducer::ShardReducer(const RankContext& context, const GradientOptions& options)
    : context_(context),
      factors_(factors_of(options.averaging, context.ranks())),
      round_sum_(options.averaging.round_sum) {
  require(options.reduce_bucket_size > 0, "gradients: reduce bucket of {} elements", options.reduce_bucket_size);
  if (context.ranks() == 1) return;
  const std::int64_t share = options.reduce_bucket_size / context.ranks() / kShardAlignment * kShardAlignment;
  piece_ = std::min(largest_shard(context.layout), std::max(kShardAlignment, share));
  const DType wire = options.averaging.wire.value_or(options.dtype);
  received_ = context.arena.allocate("buckets", wire, piece_ * context.ranks());
  if (wire == options.dtype && factors_.before == 1.0) return;
  outgoing_ = context.arena.allocate("buckets", wire, piece_ * context.ranks());
}

void ShardReducer::reduce(int unit, ConstView whole, View shard, bool accumulate, Stream& stream) {
  const std::int64_t size = context_.layout[unit].shard;
  if (context_.ranks() == 1) {
    if (whole.raw() != shard.raw()) context_.ops.reduce_pieces({1, whole, 1.0, shard, accumulate}, stream);
    return;
  }
  for (std::int64_t begin = 0; begin < size; begin += piece_) {
    const std::int64_t count = std::min(piece_, size - begin);
    const View received = received_.slice(0, count * context_.ranks());
    exchange(size, whole, begin, received, stream);
    sum(received, shard.slice(begin, count), accumulate, stream);
  }
}

/// Elements [begin, begin + count) of every rank's piece of `whole`, whose pieces have `size` elements.
void ShardReducer::exchange(std::int64_t size, ConstView whole, std::int64_t begin, View received, Stream& stream) {
  const std::int64_t count = received.numel() / context_.ranks();
  if (!outgoing_) {
    context_.communicator.all_to_all(whole, PieceRange{size, begin, count}, received, stream);
    return;
  }
  const View outgoing = outgoing_.slice(0, received.numel());
  for (std::int64_t rank = 0; rank < context_.ranks(); ++rank) {
    context_.ops.cast({whole.slice(rank * size + begin, count), outgoing.slice(rank * count, count), factors_.before},
                      stream);
  }
  context_.communicator.all_to_all(outgoing, received, stream);
}

void ShardReducer::sum(View received, View shard, bool accumulate, Stream& stream) {
  if (!round_sum_) {
    context_.ops.reduce_pieces({context_.ranks(), received, factors_.after, shard, accumulate}, stream);
    return;
  }
  const View total = received.slice(0, shard.numel());
  context_.ops.reduce_pieces({context_.ranks(), received, 1.0, total, false}, stream);
  context_.ops.reduce_pieces({1, total, factors_.after, shard, accumulate}, stream);
}

GradientStore::GradientStore(const RankContext& context)
    : context_(context), progress_(index(context.layout.unit_count())) {}

void GradientStore::begin_step() {
  for (UnitProgress& unit : progress_) unit = {};
}

UnitGradient GradientStore::acquire(int unit, Stream& stream) {
  require(unit >= 0 && unit < context_.layout.unit_count(), "gradients: unit {} of {}", unit, progress_.size());
  UnitProgress& progress = progress_[index(unit)];
  require(!progress.open, "gradients: unit {} is acquired twice", unit);
  const UnitGradient gradient = open(unit, progress.commits == 0, stream);
  progress.open = gradient.gradient;
  return gradient;
}

void GradientStore::commit(int unit, Stream& stream) {
  require(unit >= 0 && unit < context_.layout.unit_count(), "gradients: unit {} of {}", unit, progress_.size());
  UnitProgress& progress = progress_[index(unit)];
  require(static_cast<bool>(progress.open), "gradients: unit {} is committed but was not acquired", unit);
  if (hook_) hook_(unit, progress.open.slice(0, context_.layout[unit].numel));
  close(unit, progress.open, progress.commits == 0, stream);
  progress.open = {};
  progress.commits += 1;
}

void GradientStore::require_complete() const {
  for (std::size_t unit = 0; unit < progress_.size(); ++unit) {
    require(!progress_[unit].open, "gradients: unit {} was acquired but not committed", unit);
    require(progress_[unit].commits > 0, "gradients: unit {} got no gradient in this step", unit);
  }
}

namespace {

class FullGradientStore final : public GradientStore {
 public:
  FullGradientStore(const RankContext& context, const GradientOptions& options, bool whole_result)
      : GradientStore(context), reducer_(context, options), whole_result_(whole_result) {
    for (int unit = 0; unit < context.layout.unit_count(); ++unit) {
      units_.push_back(allocate_zeros(context, "gradients", options.dtype, context.layout[unit].padded()));
    }
  }

  void finish(Stream& stream) override {
    require_complete();
    for (int unit = 0; unit < context_.layout.unit_count(); ++unit) {
      reducer_.reduce(unit, units_[index(unit)], own_shard(unit), false, stream);
      if (whole_result_ && context_.ranks() > 1) {
        context_.communicator.all_gather(own_shard(unit), units_[index(unit)], stream);
      }
    }
  }

  View reduced(int unit) override { return whole_result_ ? units_[index(unit)] : own_shard(unit); }
  View own_shard(int unit) override {
    return units_[index(unit)].slice(context_.layout.own_begin(unit), context_.layout[unit].shard);
  }

 protected:
  UnitGradient open(int unit, bool first_pass, Stream&) override { return {units_[index(unit)], !first_pass}; }
  void close(int, View, bool, Stream&) override {}

 private:
  ShardReducer reducer_;
  bool whole_result_;
  std::vector<View> units_;
};

class ShardedGradientStore final : public GradientStore {
 public:
  ShardedGradientStore(const RankContext& context, const GradientOptions& options, int held_unit)
      : GradientStore(context), reducer_(context, options), held_unit_(held_unit) {
    std::int64_t largest = 0;
    for (int unit = 0; unit < context.layout.unit_count(); ++unit) {
      shards_.push_back(allocate_zeros(context, "gradients", options.dtype, context.layout[unit].shard));
      if (unit != held_unit) largest = std::max(largest, context.layout[unit].padded());
    }
    if (context.ranks() == 1) return;
    shared_ = make_bucket(options.dtype, largest);
    if (held_unit >= 0) held_ = make_bucket(options.dtype, context.layout[held_unit].padded());
  }

  void finish(Stream& stream) override {
    require_complete();
    if (context_.ranks() == 1) return;
    wait_for(shared_, stream);
    if (held_unit_ >= 0) wait_for(held_, stream);
  }

  View reduced(int unit) override { return shards_[index(unit)]; }
  View own_shard(int unit) override { return shards_[index(unit)]; }

 protected:
  // With one rank the shard is the unit: the model writes where the gradient stays.
  UnitGradient open(int unit, bool first_pass, Stream& stream) override {
    if (context_.ranks() == 1) return {shards_[index(unit)], !first_pass};
    Bucket& bucket = bucket_of(unit);
    require(bucket.unit < 0, "gradients: unit {} is acquired while unit {} is not committed", unit, bucket.unit);
    bucket.unit = unit;
    wait_for(bucket, stream);
    const UnitPartition& partition = context_.layout[unit];
    const View gradient = bucket.memory.slice(0, partition.padded());
    context_.device.fill_bytes(gradient.slice(partition.numel, partition.padded() - partition.numel), 0, stream);
    return {gradient, false};
  }

  void close(int unit, View gradient, bool first_pass, Stream& stream) override {
    if (context_.ranks() == 1) return;
    Bucket& bucket = bucket_of(unit);
    order_streams(*bucket.written, stream, context_.communication);
    reducer_.reduce(unit, gradient, shards_[index(unit)], !first_pass, context_.communication);
    bucket.reduced->record(context_.communication);
    bucket.unit = -1;
    context_.arena.poison(gradient);
  }

 private:
  struct Bucket {
    View memory;
    int unit = -1;
    std::unique_ptr<Event> written, reduced;
  };

  Bucket make_bucket(DType dtype, std::int64_t numel) {
    Bucket bucket;
    bucket.memory = context_.arena.allocate("buckets", dtype, numel);
    bucket.written = context_.device.create_event();
    bucket.reduced = context_.device.create_event();
    return bucket;
  }
  void wait_for(Bucket& bucket, Stream& stream) { context_.communicator.wait("all_to_all", *bucket.reduced, stream); }
  Bucket& bucket_of(int unit) { return unit == held_unit_ ? held_ : shared_; }

  ShardReducer reducer_;
  int held_unit_;
  Bucket shared_, held_;
  std::vector<View> shards_;
};

}  // namespace

std::unique_ptr<GradientStore> make_full_gradient_store(const RankContext& context, const GradientOptions& options,
                                                        bool whole_result) {
  return std::make_unique<FullGradientStore>(context, options, whole_result);
}

std::unique_ptr<GradientStore> make_sharded_gradient_store(const RankContext& context, const GradientOptions& options,
                                                           int held_unit) {
  return std::make_unique<ShardedGradientStore>(context, options, held_unit);
}

}  // namespace llama_zero
