#include "zero/step_timing.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace llama_zero {
namespace {

// Of the head's three equal matrix products (logits, gradient of the input, gradient of the weight) one is forward.
constexpr double kForwardPartOfHead = 1.0 / 3.0;

}  // namespace

PassTimes StepTimes::total() const {
  PassTimes sum;
  for (const PassTimes& pass : passes) {
    sum.forward += pass.forward;
    sum.backward += pass.backward;
    sum.inner += pass.inner;
    sum.reduction += pass.reduction;
    sum.unit_forward.resize(pass.unit_forward.size());
    for (std::size_t unit = 0; unit < pass.unit_forward.size(); ++unit)
      sum.unit_forward[unit] += pass.unit_forward[unit];
  }
  return sum;
}

StepTimer::StepTimer(Device& device) : device_(device), inline_collectives_(device.type() != DeviceType::kCuda) {}
StepTimer::~StepTimer() = default;

std::unique_ptr<Event> StepTimer::stamp(Stream& stream) {
  if (spare_.empty()) spare_.push_back(device_.create_timing_event());
  std::unique_ptr<Event> event = std::move(spare_.back());
  spare_.pop_back();
  event->record(stream);
  return event;
}

void StepTimer::at(StepPoint point, int unit, Stream& compute) {
  if (records_.empty() || records_.back().finished) records_.emplace_back();
  Record& record = records_.back();
  if (point == StepPoint::kPass) record.passes += 1;
  record.marks.push_back({point, unit, stamp(compute)});
  record.finished = point == StepPoint::kPublished;
}

bool StepTimer::reduces_gradients(const CommCall& call) const {
  if (call.stream == nullptr || records_.empty() || records_.back().finished || records_.back().marks.empty())
    return false;
  switch (records_.back().marks.back().point) {
    case StepPoint::kHead:
    case StepPoint::kBackward:
      return call.op == "all_to_all";  // stage 3 gathers weights meanwhile
    case StepPoint::kPassEnd:
      return true;
    default:
      return false;
  }
}

void StepTimer::before(const CommCall& call) {
  if (!reduces_gradients(call)) return;
  records_.back().reductions.push_back({records_.back().passes - 1, stamp(*call.stream), nullptr});
}

void StepTimer::after(const CommCall& call) {
  if (reduces_gradients(call)) records_.back().reductions.back().end = stamp(*call.stream);
}

std::size_t StepTimer::finished_steps() const {
  return static_cast<std::size_t>(
      std::ranges::count_if(records_, [](const Record& record) { return record.finished; }));
}

StepTimes StepTimer::take() {
  require(!records_.empty() && records_.front().finished, "step timing: no step is finished");
  Record record = std::move(records_.front());
  records_.pop_front();
  record.marks.back().event->synchronize();
  for (const Interval& interval : record.reductions) {
    if (interval.end) interval.end->synchronize();
  }
  StepTimes times = times_of(record);
  recycle(std::move(record));
  return times;
}

StepTimes StepTimer::times_of(const Record& record) const {
  StepTimes times;
  for (std::size_t i = 0; i + 1 < record.marks.size(); ++i) {
    const Mark& mark = record.marks[i];
    const double elapsed = record.marks[i + 1].event->elapsed_ms(*mark.event);
    if (mark.point == StepPoint::kPass) times.passes.emplace_back();
    switch (mark.point) {
      case StepPoint::kPass:
        times.passes.back().forward += elapsed;
        break;
      case StepPoint::kUnitForward:
        times.passes.back().forward += elapsed;
        times.passes.back().unit_forward.push_back(elapsed);
        break;
      case StepPoint::kHead:
        times.passes.back().forward += kForwardPartOfHead * elapsed;
        times.passes.back().unit_forward.push_back(kForwardPartOfHead * elapsed);
        times.passes.back().inner += (1.0 - kForwardPartOfHead) * elapsed;
        break;
      case StepPoint::kBackward:
        times.passes.back().inner += elapsed;
        break;
      case StepPoint::kPassEnd:
        // What is not hidden of the step's reduction; between two passes nothing is waited for.
        times.passes.back().backward += elapsed;
        break;
      case StepPoint::kReduced:
        times.gradients = elapsed;
        break;
      case StepPoint::kDecided:
        times.update = elapsed;
        break;
      case StepPoint::kUpdated:
        times.publish = elapsed;
        break;
      case StepPoint::kPublished:
        break;
    }
  }
  for (PassTimes& pass : times.passes) pass.backward += pass.inner;
  for (const Interval& interval : record.reductions) {
    if (interval.end) times.passes[interval.pass].reduction += interval.end->elapsed_ms(*interval.begin);
  }
  if (inline_collectives_) {
    for (PassTimes& pass : times.passes) pass.inner = std::max(0.0, pass.backward - pass.reduction);
  }
  return times;
}

void StepTimer::recycle(Record record) {
  for (Mark& mark : record.marks) spare_.push_back(std::move(mark.event));
  for (Interval& interval : record.reductions) {
    spare_.push_back(std::move(interval.begin));
    if (interval.end) spare_.push_back(std::move(interval.end));
  }
}

}  // namespace llama_zero
