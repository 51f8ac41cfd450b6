// Watching a training step from outside: the engine says where it is, observers time it or look at memory.
//
// Without an observer none of this runs.
#pragma once

#include <vector>

#include "core/device.h"
#include "model/param_access.h"

namespace llama_zero {

/// The points of a step, in the order in which they come; kPass to kPassEnd once a pass. What is timed between two
/// points is the work given to the compute stream between them.
enum class StepPoint {
  kPass,         ///< a pass begins
  kUnitForward,  ///< the forward of a unit below the head begins, its gather included (stage 3)
  kHead,         ///< the head begins: its forward, loss and backward are one step over chunks of tokens
  kBackward,     ///< the backward of the blocks begins
  kPassEnd,      ///< gradients of the pass are committed; at stages 2 and 3 their reduction may still run
  kReduced,      ///< all gradients of the step are reduced
  kDecided,      ///< norm, overflow and learning rate are known
  kUpdated,      ///< the optimizer is done
  kPublished,    ///< the weights are those of the next step: the step's last point
};

class StepObserver {
 public:
  virtual ~StepObserver() = default;
  /// `unit` is that of kUnitForward, else -1. Work given to `compute` before the call belongs to what came before.
  virtual void at(StepPoint point, int unit, Stream& compute) = 0;
  /// Around the point at which a unit's gradient is handed over: first when all its backward has been given to
  /// `compute`, then, with `committed`, when its reduction has been given to a stream (stages 2 and 3).
  virtual void at_commit(int /*unit*/, bool /*committed*/, Stream& /*compute*/) {}
};

/// Several observers as one, called in order.
class StepObservers final : public StepObserver {
 public:
  void add(StepObserver& observer) { observers_.push_back(&observer); }
  bool empty() const { return observers_.empty(); }
  void at(StepPoint point, int unit, Stream& compute) override {
    for (StepObserver* observer : observers_) observer->at(point, unit, compute);
  }
  void at_commit(int unit, bool committed, Stream& compute) override {
    for (StepObserver* observer : observers_) observer->at_commit(unit, committed, compute);
  }

 private:
  std::vector<StepObserver*> observers_;
};

/// The parameters of one pass: the order in which the model asks for units tells where it is.
class ObservedParams final : public ParamSource {
 public:
  ObservedParams(ParamSource& params, int head_unit, StepObserver& observer)
      : params_(params), head_unit_(head_unit), observer_(observer) {}

  void prefetch(int unit) override { params_.prefetch(unit); }
  ConstView acquire(int unit, Stream& stream) override {
    if (!forward_done_) {
      forward_done_ = unit == head_unit_;
      observer_.at(forward_done_ ? StepPoint::kHead : StepPoint::kUnitForward, forward_done_ ? -1 : unit, stream);
    }
    return params_.acquire(unit, stream);
  }
  void release(int unit, Stream& stream) override { params_.release(unit, stream); }

 private:
  ParamSource& params_;
  int head_unit_;
  StepObserver& observer_;
  bool forward_done_ = false;
};

/// The gradients of one pass.
class ObservedGradients final : public GradSink {
 public:
  ObservedGradients(GradSink& gradients, int head_unit, StepObserver& observer)
      : gradients_(gradients), head_unit_(head_unit), observer_(observer) {}

  UnitGradient acquire(int unit, Stream& stream) override { return gradients_.acquire(unit, stream); }
  void commit(int unit, Stream& stream) override {
    if (unit == head_unit_) observer_.at(StepPoint::kBackward, -1, stream);
    observer_.at_commit(unit, false, stream);
    gradients_.commit(unit, stream);
    observer_.at_commit(unit, true, stream);
  }

 private:
  GradSink& gradients_;
  int head_unit_;
  StepObserver& observer_;
};

}  // namespace llama_zero
