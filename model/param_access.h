// What the model asks of whoever holds its parameters and gradients. model/ knows nothing of ranks or stages: zero/
// implements these two interfaces, and tests may.
#pragma once

#include "core/device.h"
#include "core/view.h"

namespace llama_zero {

/// Parameters by unit. Calls come from one thread. A forward and backward acquires 0, 1, .. L, L+1 (once: the head's
/// loss and gradient are one step), then L, .. 1; the embedding's gradient needs no weights. With tied embeddings unit
/// 0 is acquired again while L+1 is held. Generation acquires 0, 1, .. L, L+1 for every token.
class ParamSource {
 public:
  virtual ~ParamSource() = default;
  /// A hint that `unit` will be acquired soon. Never blocks the host.
  virtual void prefetch(int unit) = 0;
  /// The unit's weights, whole, in the model's dtype, at least Unit::numel elements; valid for work given to `stream`
  /// until release. Nested acquires of one unit are counted.
  virtual ConstView acquire(int unit, Stream& stream) = 0;
  /// Ends one acquire: work given to `stream` before this call still sees the weights, later work must not.
  /// Throws Error for a unit that is not acquired.
  virtual void release(int unit, Stream& stream) = 0;
};

/// Where a unit's gradient goes.
struct UnitGradient {
  View gradient;            ///< whole unit, grad dtype, at least Unit::numel elements
  bool accumulate = false;  ///< false: the content is undefined, every parameter of the unit must be overwritten
};

/// Gradients by unit. Each pass, each unit is acquired once, written completely, and committed once, in the order L+1,
/// L, .. 0, one at a time; except that tied embeddings acquire unit 0 right after L+1 and hold it until its commit,
/// which is the last of the pass.
class GradSink {
 public:
  virtual ~GradSink() = default;
  virtual UnitGradient acquire(int unit, Stream& stream) = 0;
  /// The unit's gradient of this pass is complete in `stream`: its reduction may start.
  virtual void commit(int unit, Stream& stream) = 0;
};

}  // namespace llama_zero
