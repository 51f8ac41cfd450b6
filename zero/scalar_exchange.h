// One number a rank, seen by all: losses, flags, small diagnoses.
#pragma once

#include <span>
#include <vector>

#include "zero/rank_context.h"

namespace llama_zero {

/// Owns fp64 [1] and fp64 [ranks] on the device, label "step state".
class ScalarExchange {
 public:
  explicit ScalarExchange(const RankContext& context)
      : context_(context),
        own_(context.arena.allocate("step state", DType::kF64, 1)),
        all_(context.arena.allocate("step state", DType::kF64, context.ranks())),
        host_(static_cast<std::size_t>(context.ranks()), 0.0) {}

  /// This rank's number, fp64 [1] on the device; may be written by ops.
  View own() const { return own_; }
  void set(double value, Stream& stream) {
    context_.device.copy(ConstView::of<double>({&value, 1}), own_, stream);
    stream.synchronize();
  }

  /// Collective: the numbers of all ranks, in rank order. Waits for `stream`. Zeros on a null device.
  std::span<const double> gather(Stream& stream) {
    context_.communicator.all_gather(own_, all_, stream);
    context_.device.copy(all_, View::of<double>(host_), stream);
    stream.synchronize();
    return host_;
  }
  /// Collective: their sum, added in rank order.
  double gather_sum(Stream& stream) {
    double sum = 0.0;
    for (const double value : gather(stream)) sum += value;
    return sum;
  }

 private:
  const RankContext& context_;
  View own_, all_;
  std::vector<double> host_;
};

}  // namespace llama_zero
