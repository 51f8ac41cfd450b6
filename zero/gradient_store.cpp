#include "zero/gradient_store.h"

#include <algorithm>

namespace llama_zero {
namespace {

std::size_t index(int unit) { return static_cast<std::size_t>(unit); }

}  // namespace

GradientStore::GradientStore(const RankContext& context, const GradientOptions& options)
    : context_(context), progress_(index(context.layout.unit_count())) {
  if (options.offload.any()) host_ = std::make_unique<HostGradients>(context, options.dtype, options.offload);
}

void GradientStore::begin_step(int passes) {
  require(passes > 0, "gradients: a step of {} passes", passes);
  for (UnitProgress& unit : progress_) unit = {};
  passes_ = passes;
  begin(passes);
}

UnitGradient GradientStore::acquire(int unit, Stream& stream) {
  require(unit >= 0 && unit < context_.layout.unit_count(), "gradients: unit {} of {}", unit, progress_.size());
  UnitProgress& progress = progress_[index(unit)];
  require(!progress.open, "gradients: unit {} is acquired twice", unit);
  require(progress.commits < passes_, "gradients: unit {} is acquired in more than {} passes", unit, passes_);
  const UnitGradient gradient = open(unit, progress.commits == 0, stream);
  progress.open = gradient.gradient;
  return gradient;
}

void GradientStore::commit(int unit, Stream& stream) {
  require(unit >= 0 && unit < context_.layout.unit_count(), "gradients: unit {} of {}", unit, progress_.size());
  UnitProgress& progress = progress_[index(unit)];
  require(static_cast<bool>(progress.open), "gradients: unit {} is committed but was not acquired", unit);
  if (hook_) hook_(unit, progress.open.slice(0, context_.layout[unit].numel));
  close(unit, progress.open, {progress.commits == 0, progress.commits + 1 == passes_}, stream);
  progress.open = {};
  progress.commits += 1;
}

void GradientStore::require_complete() const {
  for (std::size_t unit = 0; unit < progress_.size(); ++unit) {
    require(!progress_[unit].open, "gradients: unit {} was acquired but not committed", unit);
    require(progress_[unit].commits > 0, "gradients: unit {} got no gradient in this step", unit);
    require(progress_[unit].commits == passes_, "gradients: unit {} got gradients in {} of {} passes", unit,
            progress_[unit].commits, passes_);
  }
}

}  // namespace llama_zero
