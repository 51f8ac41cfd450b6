// Gradients of stages 2 and 3: every commit is reduced into the own shard.
#include <algorithm>

#include "zero/gradient_store.h"

namespace llama_zero {
namespace {

std::size_t index(int unit) { return static_cast<std::size_t>(unit); }

/// Where the model writes the gradients of units, one after another: one, or two in turn so that the backward goes on
/// while a reduction reads.
class UnitBuckets {
 public:
  struct Bucket {
    View memory;
    std::unique_ptr<Event> reduced;
  };

  UnitBuckets(const RankContext& context, DType dtype, int count, std::int64_t elements) {
    for (int i = 0; i < count; ++i) {
      buckets_.push_back({context.arena.allocate("buckets", dtype, elements), context.device.create_event()});
    }
  }
  Bucket& next() { return buckets_[++turn_ % buckets_.size()]; }
  Bucket& current() { return buckets_[turn_ % buckets_.size()]; }
  std::vector<Bucket>& all() { return buckets_; }

 private:
  std::vector<Bucket> buckets_;
  std::size_t turn_ = 0;
};

class ShardedGradientStore final : public GradientStore {
 public:
  ShardedGradientStore(const RankContext& context, const GradientOptions& options, int held_unit)
      : GradientStore(context, options),
        overlap_(options.overlap && context.ranks() > 1),
        reducer_(context, options.dtype, options.reduce_bucket_size, options.averaging),
        held_unit_(held_unit),
        committed_(context.device.create_event()) {
    const int buffers = options.overlap ? 2 : 1;
    allocate_shards(options.dtype);
    allocate_slots(options.dtype, buffers);
    if (context.ranks() > 1) allocate_buckets(options.dtype, buffers);
  }

  void finish(Stream& stream) override {
    require_complete();
    for (UnitBuckets* buckets : {units_.get(), held_.get()}) {
      if (buckets == nullptr) continue;
      for (UnitBuckets::Bucket& bucket : buckets->all()) wait_for(bucket, stream);
    }
    if (slots_) slots_->settle(stream);
    if (host_) host_->finish(stream);
  }

  View reduced(int unit) override { return own_shard(unit); }
  View own_shard(int unit) override { return on_host(unit) ? host_->shard(unit) : shards_[index(unit)]; }

 protected:
  void begin(int passes) override {
    if (slots_) slots_->begin_step(passes);
    open_unit_ = -1;
  }

  // With one rank the shard is the unit: the model writes where the gradient stays, or into the slot that passes it on.
  UnitGradient open(int unit, bool first_pass, Stream& stream) override {
    if (unit != held_unit_) {
      require(open_unit_ < 0, "gradients: unit {} is acquired while unit {} is not committed", unit, open_unit_);
      open_unit_ = unit;
    }
    if (context_.ranks() == 1) {
      const View gradient = passes_through_slots(unit) ? slots_->open(unit, !first_pass, stream) : shards_[index(unit)];
      clear_padding(unit, gradient, stream);
      return {gradient, !first_pass};
    }
    UnitBuckets::Bucket& bucket = buckets_of(unit).next();
    wait_for(bucket, stream);
    const View gradient = bucket.memory.slice(0, context_.layout[unit].padded());
    clear_padding(unit, gradient, stream);
    return {gradient, false};
  }

  void close(int unit, View gradient, PassPlace pass, Stream& stream) override {
    if (unit != held_unit_) open_unit_ = -1;
    if (context_.ranks() == 1) {
      pass_on(unit, gradient, pass, stream);
      return;
    }
    if (slots_) slots_->settle(stream);
    Stream& reduction = overlap_ ? context_.communication : stream;
    if (overlap_) order_streams(*committed_, stream, reduction);
    const View shard = on_host(unit) ? slots_->open(unit, !pass.first, reduction) : shards_[index(unit)];
    reducer_.reduce(unit, gradient, shard, !pass.first, reduction);
    buckets_of(unit).current().reduced->record(reduction);
    if (on_host(unit)) slots_->close(unit, pass.last, reduction);
    context_.arena.poison(gradient);
  }

 private:
  // With one rank the unit that the model holds open has memory of its own, and goes to the host in the last pass.
  bool passes_through_slots(int unit) const { return on_host(unit) && !(context_.ranks() == 1 && unit == held_unit_); }

  void allocate_shards(DType dtype) {
    for (int unit = 0; unit < context_.layout.unit_count(); ++unit) {
      View shard;
      if (!passes_through_slots(unit)) {
        shard = allocate_zeros(context_, "gradients", dtype, context_.layout[unit].shard);
      }
      shards_.push_back(shard);
    }
  }

  void allocate_slots(DType dtype, int buffers) {
    std::int64_t largest = 0;
    int users = 0;
    for (int unit = 0; unit < context_.layout.unit_count(); ++unit) {
      if (!passes_through_slots(unit)) continue;
      largest = std::max(largest, context_.layout[unit].shard);
      users += 1;
    }
    if (users == 0) return;
    slots_ = std::make_unique<GradientSlots>(context_, *host_, dtype, std::min(buffers, users), largest, users);
  }

  void allocate_buckets(DType dtype, int buffers) {
    std::int64_t largest = 0;
    int users = 0;
    for (int unit = 0; unit < context_.layout.unit_count(); ++unit) {
      if (unit == held_unit_) continue;
      largest = std::max(largest, context_.layout[unit].padded());
      users += 1;
    }
    units_ = std::make_unique<UnitBuckets>(context_, dtype, std::min(buffers, users), largest);
    if (held_unit_ < 0) return;
    held_ = std::make_unique<UnitBuckets>(context_, dtype, 1, context_.layout[held_unit_].padded());
  }

  void clear_padding(int unit, View gradient, Stream& stream) {
    const std::int64_t numel = context_.layout[unit].numel;
    context_.device.fill_bytes(gradient.slice(numel, gradient.numel() - numel), 0, stream);
  }

  void pass_on(int unit, View gradient, PassPlace pass, Stream& stream) {
    if (!on_host(unit)) return;
    if (passes_through_slots(unit)) {
      slots_->close(unit, pass.last, stream);
      slots_->settle(stream);
    } else if (pass.last) {
      host_->after(stream);
      host_->download(unit, 0, gradient);
      host_->squares().take(unit, gradient, stream);
    }
  }

  void wait_for(UnitBuckets::Bucket& bucket, Stream& stream) {
    context_.communicator.wait("all_to_all", *bucket.reduced, stream);
  }
  UnitBuckets& buckets_of(int unit) { return unit == held_unit_ ? *held_ : *units_; }

  bool overlap_;
  ShardReducer reducer_;
  int held_unit_;
  int open_unit_ = -1;  ///< the one between acquire and commit, the held one aside
  std::unique_ptr<UnitBuckets> units_, held_;
  std::unique_ptr<GradientSlots> slots_;
  std::unique_ptr<Event> committed_;
  std::vector<View> shards_;
};

}  // namespace

std::unique_ptr<GradientStore> make_sharded_gradient_store(const RankContext& context, const GradientOptions& options,
                                                           int held_unit) {
  return std::make_unique<ShardedGradientStore>(context, options, held_unit);
}

}  // namespace llama_zero
