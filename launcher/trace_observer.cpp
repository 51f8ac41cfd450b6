#include "launcher/trace_observer.h"

#include <utility>

#include "core/worker_device.h"

namespace llama_zero {

namespace {

TraceThread thread_of(const CommCall& call) {
  if (!call.background) return TraceThread::kCompute;
  if (call.op == "copy_to_device") return TraceThread::kUpload;
  if (call.op == "copy_to_host") return TraceThread::kDownload;
  if (call.op == "copy_activations_to_device") return TraceThread::kActivationsUp;
  return call.op == "copy_activations_to_host" ? TraceThread::kActivationsDown : TraceThread::kCommunication;
}

}  // namespace

TraceObserver::TraceObserver(Device& device, std::vector<std::string> unit_names, TraceRecorder& recorder)
    : device_(device),
      unit_names_(std::move(unit_names)),
      recorder_(recorder),
      inline_work_(!works_beside_host(device)),
      clock_stream_(device.create_stream("trace")),
      anchor_(device.create_timing_event()) {
  clock_stream_->synchronize();
  anchor_ns_ = trace_now();
  anchor_->record(*clock_stream_);
  anchor_->synchronize();
}

std::unique_ptr<Event> TraceObserver::stamp(Stream& stream) {
  if (spare_.empty()) spare_.push_back(device_.create_timing_event());
  std::unique_ptr<Event> event = std::move(spare_.back());
  spare_.pop_back();
  event->record(stream);
  return event;
}

std::int64_t TraceObserver::time_of(const Event& event) const {
  return anchor_ns_ + static_cast<std::int64_t>(event.elapsed_ms(*anchor_) * 1e6);
}

TraceObserver::Pending& TraceObserver::add(TraceThread thread, std::string_view category, std::string name,
                                           Stream& stream) {
  Pending& pending = pending_.emplace_back();
  pending.slice.name = std::move(name);
  pending.slice.category = category;
  pending.slice.thread = thread;
  pending.slice.step = step_;
  pending.begin = stamp(stream);
  return pending;
}

void TraceObserver::open(Level level, std::string_view category, std::string name, Stream& stream) {
  open_[level] = &add(TraceThread::kCompute, category, std::move(name), stream);
}

void TraceObserver::close(Level level, Stream& stream) {
  if (open_[level] == nullptr) return;
  open_[level]->end = stamp(stream);
  open_[level] = nullptr;
}

void TraceObserver::drop_leaf(Stream& stream) {
  if (open_[kLeaf] != nullptr) open_[kLeaf]->dropped = true;
  close(kLeaf, stream);
}

void TraceObserver::stop() {
  stopped_ = true;
  calls_.clear();
  for (Pending*& pending : open_) pending = nullptr;
  pending_.clear();
}

void TraceObserver::at(StepPoint point, int unit, Stream& compute) {
  if (stopped_) return;
  switch (point) {
    case StepPoint::kPass:
      drop_leaf(compute);  // between two passes nothing is reduced that the second one waits for
      if (open_[kStep] == nullptr) open(kStep, "step", "step " + std::to_string(step_), compute);
      return open(kPass, "pass", "pass", compute);
    case StepPoint::kUnitForward:
      close(kLeaf, compute);
      return open(kLeaf, "forward", "forward " + unit_names_.at(static_cast<std::size_t>(unit)), compute);
    case StepPoint::kHead:
      close(kLeaf, compute);
      return open(kLeaf, "head", "head: forward, loss, backward", compute);
    case StepPoint::kBackward:
      return close(kLeaf, compute);
    case StepPoint::kPassEnd:
      drop_leaf(compute);
      close(kPass, compute);
      return open(kLeaf, "reduction", "reduction", compute);
    case StepPoint::kReduced:
      close(kLeaf, compute);
      return open(kLeaf, "norm", "norm", compute);
    case StepPoint::kDecided:
      close(kLeaf, compute);
      return open(kLeaf, "optimizer", "optimizer", compute);
    case StepPoint::kUpdated:
      close(kLeaf, compute);
      return open(kLeaf, "all-gather", "all-gather", compute);
    case StepPoint::kPublished:
      close(kLeaf, compute);
      return close(kStep, compute);
  }
}

// The unit whose backward begins is known when it ends.
void TraceObserver::at_commit(int unit, bool committed, Stream& compute) {
  if (stopped_) return;
  if (committed) return open(kLeaf, "backward", "", compute);
  if (open_[kLeaf] != nullptr) {
    open_[kLeaf]->slice.name = "backward " + unit_names_.at(static_cast<std::size_t>(unit));
  }
  close(kLeaf, compute);
}

void TraceObserver::open_call(const CommCall& call, std::string_view category, std::string name) {
  if (call.stream == nullptr) {
    barrier_begin_ns_ = trace_now();
    return;
  }
  if (call.background && inline_work_) {
    Pending& wait = add(TraceThread::kCompute, "wait", "wait for " + name, *call.stream);
    wait.slice.step = call.step;
    calls_.push_back(&wait);
  }
  Pending& pending = add(thread_of(call), category, std::move(name), *call.stream);
  pending.slice.step = call.step;
  if (category != "wait") pending.slice.bytes = call.bytes;
  calls_.push_back(&pending);
}

void TraceObserver::close_call(Stream* stream) {
  if (stream == nullptr) {
    recorder_.add({"barrier", "collective", TraceThread::kHost, barrier_begin_ns_, trace_now(), step_, 0});
    return;
  }
  for (Pending* pending : calls_) pending->end = stamp(*stream);
  calls_.clear();
}

void TraceObserver::before(const CommCall& call) { open_call(call, "collective", std::string(call.op)); }
void TraceObserver::after(const CommCall& call) { close_call(call.stream); }
void TraceObserver::before_copy(const CommCall& call) { open_call(call, "host copy", std::string(call.op)); }
void TraceObserver::after_copy(const CommCall& call) { close_call(call.stream); }
// Where the host does the work, the wait is the call's own.
void TraceObserver::before_wait(const CommCall& call) {
  if (!inline_work_) open_call(call, "wait", "wait for " + std::string(call.op));
}
void TraceObserver::after_wait(const CommCall& call) {
  if (!inline_work_) close_call(call.stream);
}

void TraceObserver::resolve(std::int64_t step) {
  while (!pending_.empty() && pending_.front().slice.step <= step && pending_.front().end) {
    Pending& pending = pending_.front();
    if (!pending.dropped) {
      pending.end->synchronize();
      pending.slice.begin_ns = time_of(*pending.begin);
      pending.slice.end_ns = time_of(*pending.end);
      recorder_.add(std::move(pending.slice));
    }
    spare_.push_back(std::move(pending.begin));
    spare_.push_back(std::move(pending.end));
    pending_.pop_front();
  }
}

}  // namespace llama_zero
