// Full-size gradients on every rank, reduced at the boundary.
#include "zero/gradient_store.h"

namespace llama_zero {
namespace {

std::size_t index(int unit) { return static_cast<std::size_t>(unit); }

class FullGradientStore final : public GradientStore {
 public:
  FullGradientStore(const RankContext& context, const GradientOptions& options, bool whole_result)
      : GradientStore(context, options),
        reducer_(context, options.dtype, options.reduce_bucket_size, options.averaging),
        whole_result_(whole_result),
        overlap_(options.overlap),
        committed_(context.device.create_event()),
        reduced_(context.device.create_event()) {
    require(!host_ || !whole_result, "gradients: stage 0 has no shards to offload");
    for (int unit = 0; unit < context.layout.unit_count(); ++unit) {
      units_.push_back(allocate_zeros(context, "gradients", options.dtype, context.layout[unit].padded()));
    }
  }

  void finish(Stream& stream) override {
    require_complete();
    if (!overlap_) {
      for (int unit = 0; unit < context_.layout.unit_count(); ++unit) reduce(unit, stream);
    } else if (context_.ranks() > 1) {
      reduced_->record(context_.communication);
      context_.communicator.wait("all_to_all", *reduced_, stream);
    }
    if (!host_) return;
    for (int unit = 0; unit < context_.layout.unit_count(); ++unit) {
      if (on_host(unit)) host_->squares().take(unit, device_shard(unit), stream);
    }
    host_->finish(stream);
  }

  View reduced(int unit) override { return whole_result_ ? units_[index(unit)] : own_shard(unit); }
  View own_shard(int unit) override { return on_host(unit) ? host_->shard(unit) : device_shard(unit); }

 protected:
  UnitGradient open(int unit, bool first_pass, Stream&) override { return {units_[index(unit)], !first_pass}; }

  void close(int unit, View, PassPlace pass, Stream& stream) override {
    if (!overlap_ || !pass.last) return;
    if (context_.ranks() == 1) {
      reduce(unit, stream);
      return;
    }
    order_streams(*committed_, stream, context_.communication);
    reduce(unit, context_.communication);
  }

 private:
  View device_shard(int unit) const {
    return units_[index(unit)].slice(context_.layout.own_begin(unit), context_.layout[unit].shard);
  }

  void reduce(int unit, Stream& stream) {
    const View shard = device_shard(unit);
    reducer_.reduce(unit, units_[index(unit)], shard, false, stream);
    if (whole_result_ && context_.ranks() > 1) {
      context_.communicator.all_gather(shard, units_[index(unit)], stream);
    }
    if (!on_host(unit)) return;
    host_->after(stream);
    host_->download(unit, 0, shard);
  }

  ShardReducer reducer_;
  bool whole_result_, overlap_;
  std::unique_ptr<Event> committed_, reduced_;
  std::vector<View> units_;
};

}  // namespace

std::unique_ptr<GradientStore> make_full_gradient_store(const RankContext& context, const GradientOptions& options,
                                                        bool whole_result) {
  return std::make_unique<FullGradientStore>(context, options, whole_result);
}

}  // namespace llama_zero
