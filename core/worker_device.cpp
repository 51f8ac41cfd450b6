#include "core/worker_device.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace llama_zero {
namespace {

/// A point in a stream, shared by the event that recorded it and those that wait for it.
class Mark {
 public:
  void pass(std::exception_ptr failure) {
    const std::scoped_lock lock(mutex_);
    time_ = std::chrono::steady_clock::now();
    failure_ = std::move(failure);
    passed_ = true;
    changed_.notify_all();
  }
  /// Throws what work before the point has thrown: so a failure follows the order of streams.
  std::chrono::steady_clock::time_point wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return passed_; });
    if (failure_) std::rethrow_exception(failure_);
    return time_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool passed_ = false;
  std::exception_ptr failure_;
  std::chrono::steady_clock::time_point time_;
};

/// The thread of a stream and what it has to do.
class Worker {
 public:
  Worker() : thread_([this] { run(); }) {}
  ~Worker() {
    {
      const std::scoped_lock lock(mutex_);
      ends_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  /// `always`: even after a failure, so that nobody waits for a mark in vain.
  void give(std::function<void()> work, bool always) {
    {
      const std::scoped_lock lock(mutex_);
      queue_.push_back({std::move(work), always});
      given_ += 1;
    }
    changed_.notify_all();
  }

  void wait_all() {
    std::unique_lock lock(mutex_);
    const std::int64_t given = given_;
    changed_.wait(lock, [&] { return done_ >= given; });
  }

  std::exception_ptr failure() {
    const std::scoped_lock lock(mutex_);
    return failure_;
  }

 private:
  struct Task {
    std::function<void()> work;
    bool always = false;
  };

  void run() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [&] { return ends_ || !queue_.empty(); });
      if (queue_.empty()) return;
      Task task = std::move(queue_.front());
      queue_.pop_front();
      const bool runs = task.always || !failure_;
      lock.unlock();
      std::exception_ptr failure;
      try {
        if (runs) task.work();
      } catch (...) {
        failure = std::current_exception();
      }
      task.work = nullptr;
      lock.lock();
      if (failure && !failure_) failure_ = failure;
      done_ += 1;
      changed_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Task> queue_;
  std::int64_t given_ = 0, done_ = 0;
  std::exception_ptr failure_;
  bool ends_ = false;
  std::thread thread_;  // last: it uses the others
};

class ThreadStream final : public WorkerStream {
 public:
  explicit ThreadStream(std::shared_ptr<Worker> worker) : worker_(std::move(worker)) {}
  void give(std::function<void()> work) override { worker_->give(std::move(work), false); }
  void give_mark(const std::shared_ptr<Mark>& mark) {
    worker_->give([mark, worker = worker_.get()] { mark->pass(worker->failure()); }, true);
  }
  void give_wait(const std::shared_ptr<Mark>& mark) {
    worker_->give([mark] { mark->wait(); }, true);
  }
  void synchronize() override {
    worker_->wait_all();
    if (const std::exception_ptr failure = worker_->failure()) std::rethrow_exception(failure);
  }

 private:
  std::shared_ptr<Worker> worker_;
};

ThreadStream& thread_stream(Stream& stream) {
  auto* worker = dynamic_cast<ThreadStream*>(&stream);
  require(worker != nullptr, "worker device: the stream is another device's");
  return *worker;
}

class MarkEvent final : public Event {
 public:
  void record(Stream& stream) override {
    mark_ = std::make_shared<Mark>();
    thread_stream(stream).give_mark(mark_);
  }
  void wait(Stream& stream) override {
    if (mark_) thread_stream(stream).give_wait(mark_);
  }
  void synchronize() override {
    if (mark_) mark_->wait();
  }
  double elapsed_ms(const Event& earlier) const override {
    const auto* other = dynamic_cast<const MarkEvent*>(&earlier);
    require(other != nullptr && other->mark_ && mark_, "event: it has recorded nothing, or is another device's");
    return std::chrono::duration<double, std::milli>(mark_->wait() - other->mark_->wait()).count();
  }

 private:
  std::shared_ptr<Mark> mark_;
};

class WorkerDevice final : public Device {
 public:
  WorkerDevice() : host_(make_cpu_device()), inline_(host_->create_stream("inline")) {}

  DeviceType type() const override { return DeviceType::kCpu; }
  std::string description() const override { return host_->description() + ", streams on threads"; }
  DeviceMemoryInfo memory_info() const override { return host_->memory_info(); }
  std::byte* allocate(std::size_t bytes) override { return host_->allocate(bytes); }
  void deallocate(std::byte* data, std::size_t bytes) noexcept override { host_->deallocate(data, bytes); }

  std::unique_ptr<Stream> create_stream(const std::string&) override {
    const auto worker = std::make_shared<Worker>();
    const std::scoped_lock lock(mutex_);
    std::erase_if(workers_, [](const std::weak_ptr<Worker>& old) { return old.expired(); });
    workers_.push_back(worker);
    return std::make_unique<ThreadStream>(worker);
  }
  std::unique_ptr<Event> create_event() override { return std::make_unique<MarkEvent>(); }
  std::unique_ptr<Event> create_timing_event() override { return std::make_unique<MarkEvent>(); }

  void synchronize() override {
    std::vector<std::shared_ptr<Worker>> workers;
    {
      const std::scoped_lock lock(mutex_);
      for (const auto& weak : workers_) {
        if (auto worker = weak.lock()) workers.push_back(std::move(worker));
      }
    }
    for (const auto& worker : workers) worker->wait_all();
  }

  void copy(ConstView source, View destination, Stream& stream) override {
    require(source.bytes() == destination.bytes(), "copy of {} bytes into {} bytes", source.bytes(),
            destination.bytes());
    thread_stream(stream).give([this, source, destination] { host_->copy(source, destination, *inline_); });
  }
  void fill_bytes(View destination, unsigned char value, Stream& stream) override {
    thread_stream(stream).give([this, destination, value] { host_->fill_bytes(destination, value, *inline_); });
  }

 private:
  std::unique_ptr<Device> host_;
  std::unique_ptr<Stream> inline_;
  std::mutex mutex_;
  std::vector<std::weak_ptr<Worker>> workers_;
};

}  // namespace

WorkerStream& worker_stream(Stream& stream) { return thread_stream(stream); }

std::unique_ptr<Device> make_worker_device() { return std::make_unique<WorkerDevice>(); }

bool works_beside_host(const Device& device) {
  return device.type() == DeviceType::kCuda || dynamic_cast<const WorkerDevice*>(&device) != nullptr;
}

}  // namespace llama_zero
