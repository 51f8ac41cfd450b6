// The optimizer's work on host memory.
#pragma once

#include <memory>

#include "kernels/ops.h"
#include "zero/optimizer_range.h"

namespace llama_zero {

/// Every call is done when it returns, and has the bits of the device's op. On all cores that `threads` allows.
class HostOptimizer {
 public:
  /// `threads` 0: one for each core that the process may use. `counts_only`: views have no storage, calls do nothing.
  HostOptimizer(const OptimizerOptions& options, int threads, bool counts_only);

  /// One update of a range whose views all lie in host memory. Adam may write weights over the gradient
  /// (writes_over_gradient).
  void update(const OptimizerRange& range, double weight_decay);
  bool writes_over_gradient() const;

  /// Between floating dtypes.
  void cast(ConstView source, View destination);
  void fill(View destination, double value);

 private:
  OptimizerOptions options_;
  int threads_;
  bool counts_only_;
  std::unique_ptr<Ops> ops_;
  std::unique_ptr<Stream> stream_;
};

}  // namespace llama_zero
