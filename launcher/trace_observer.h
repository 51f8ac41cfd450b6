// The steps of the engine as slices of a timeline, from events on the streams where the work runs.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/device.h"
#include "core/trace.h"
#include "zero/comm_observer.h"
#include "zero/step_observer.h"

namespace llama_zero {

/// On the compute stream: a step; in it every pass, "reduction", "norm", "optimizer", "all-gather"; in a pass "forward
/// UNIT", "head: forward, loss, backward", "backward UNIT"; in these whatever runs or is waited for there. On the
/// communication stream: what runs beside the computation. On the CPU, where the host does everything at once, the
/// computation waits as long as a collective takes.
class TraceObserver final : public StepObserver, public CommObserver {
 public:
  /// `unit_names` by unit. Everything must outlive the object.
  TraceObserver(Device& device, std::vector<std::string> unit_names, TraceRecorder& recorder);

  /// Step `step` (from 1) is about to be given to the engine.
  void begin_step(std::int64_t step) { step_ = step; }
  /// Hands the slices of steps up to `step`, which must be over, to the recorder.
  void resolve(std::int64_t step);
  /// Looks no longer; what is not resolved is lost.
  void stop();

  void at(StepPoint point, int unit, Stream& compute) override;
  void at_commit(int unit, bool committed, Stream& compute) override;

  void before(const CommCall& call) override;
  void after(const CommCall& call) override;
  void before_copy(const CommCall& call) override;
  void after_copy(const CommCall& call) override;
  void before_wait(const CommCall& call) override;
  void after_wait(const CommCall& call) override;

 private:
  struct Pending {
    TraceSlice slice;
    std::unique_ptr<Event> begin, end;
    bool dropped = false;
  };

  /// Levels of the compute stream's nesting that the step's points open and close.
  enum Level { kStep, kPass, kLeaf, kLevels };

  Pending& add(TraceThread thread, std::string_view category, std::string name, Stream& stream);
  void open(Level level, std::string_view category, std::string name, Stream& stream);
  void close(Level level, Stream& stream);
  /// The leaf that was opened has nothing in it.
  void drop_leaf(Stream& stream);
  void open_call(const CommCall& call, std::string_view category, std::string name);
  void close_call(Stream* stream);
  std::unique_ptr<Event> stamp(Stream& stream);
  std::int64_t time_of(const Event& event) const;

  Device& device_;
  std::vector<std::string> unit_names_;
  TraceRecorder& recorder_;
  bool inline_work_;
  bool stopped_ = false;
  std::int64_t step_ = 0;
  std::unique_ptr<Stream> clock_stream_;
  std::unique_ptr<Event> anchor_;
  std::int64_t anchor_ns_ = 0;
  std::deque<Pending> pending_;  ///< references to its elements stay valid while others come and go at the ends
  Pending* open_[kLevels] = {};
  std::vector<Pending*> calls_;  ///< of the collective, copy or wait under way
  std::int64_t barrier_begin_ns_ = 0;
  std::vector<std::unique_ptr<Event>> spare_;
};

}  // namespace llama_zero
