// Times of the phases of a training step: events on the streams where the work runs, read after the step.
#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <vector>

#include "core/device.h"
#include "zero/comm_observer.h"
#include "zero/step_observer.h"

namespace llama_zero {

/// One pass, in milliseconds. The head's forward and backward are one step over chunks of logits, made of three matrix
/// products of one size, the first of which is its forward: a third of its time counts as forward.
struct PassTimes {
  double forward = 0.0;
  double backward = 0.0;   ///< with the reduction, as far as it is not hidden
  double inner = 0.0;      ///< backward without the reduction
  double reduction = 0.0;  ///< collectives of the gradients, where they run; on a GPU they may overlap with `inner`
  std::vector<double> unit_forward;  ///< by unit, the head last
};

/// One step, in milliseconds.
struct StepTimes {
  std::vector<PassTimes> passes;
  double gradients = 0.0;  ///< norm and overflow check
  double update = 0.0;     ///< the optimizer
  double publish = 0.0;    ///< the new weights to all ranks

  /// The sum over the passes.
  PassTimes total() const;
  double boundary() const { return gradients + update + publish; }
};

/// Observes steps and their collectives. Times wait in it until they are taken, so that the host can run ahead.
class StepTimer final : public StepObserver, public CommObserver {
 public:
  explicit StepTimer(Device& device);
  ~StepTimer() override;

  void at(StepPoint point, int unit, Stream& compute) override;
  void before(const CommCall& call) override;
  void after(const CommCall& call) override;

  /// Steps whose last point has been given to the stream and that were not taken.
  std::size_t finished_steps() const;
  /// The oldest finished step; waits for its last event. Throws Error when there is none.
  StepTimes take();

 private:
  struct Mark {
    StepPoint point;
    int unit;
    std::unique_ptr<Event> event;
  };
  struct Interval {
    std::size_t pass;
    std::unique_ptr<Event> begin, end;
  };
  struct Record {
    std::vector<Mark> marks;
    std::vector<Interval> reductions;
    std::size_t passes = 0;
    bool finished = false;
  };

  std::unique_ptr<Event> stamp(Stream& stream);
  bool reduces_gradients(const CommCall& call) const;
  StepTimes times_of(const Record& record) const;
  void recycle(Record record);

  Device& device_;
  bool inline_collectives_;  ///< the host runs them: they are part of the backward's time
  std::deque<Record> records_;
  std::vector<std::unique_ptr<Event>> spare_;
};

}  // namespace llama_zero
