#include "zero/host_optimizer.h"

#include "kernels/host_adam.h"

namespace llama_zero {
namespace {

bool is_adam(OptimizerKind kind) { return kind == OptimizerKind::kAdamW || kind == OptimizerKind::kAdam; }

}  // namespace

HostOptimizer::HostOptimizer(const OptimizerOptions& options, int threads, bool counts_only)
    : options_(options),
      threads_(threads),
      counts_only_(counts_only),
      ops_(make_cpu_ops(threads)),
      stream_(make_cpu_device()->create_stream("host optimizer")) {}

void HostOptimizer::update(const OptimizerRange& range, double weight_decay) {
  if (counts_only_) return;
  if (!is_adam(options_.kind)) {
    update_range(*ops_, options_, weight_decay, range, *stream_);
    return;
  }
  HostAdamOptions how;
  how.threads = threads_;
  host_adam({range.master, range.states[0], range.states[1], range.gradient, range.weights, range.step_state,
             options_.eps, weight_decay, options_.kind == OptimizerKind::kAdamW},
            how);
}

bool HostOptimizer::writes_over_gradient() const { return is_adam(options_.kind); }

void HostOptimizer::cast(ConstView source, View destination) {
  if (!counts_only_) ops_->cast({source, destination, 1.0}, *stream_);
}

void HostOptimizer::fill(View destination, double value) {
  if (!counts_only_) ops_->fill({destination, value}, *stream_);
}

}  // namespace llama_zero
