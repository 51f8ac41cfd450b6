#include "zero/cuda/nccl_watch.h"

#include "core/cuda/cuda_check.h"

namespace llama_zero {
namespace {

using namespace std::chrono_literals;

constexpr auto kLookEvery = 100ms;
constexpr auto kSettlePoll = 200us;
constexpr auto kSettleSpin = 1ms;

// A communicator that never blocks gives every group to a thread of NCCL's, which is done within tens of microseconds
// once the connections stand: sleeping first would make each collective cost the host a quarter of a millisecond.
void pause(std::chrono::steady_clock::time_point begun) {
  if (std::chrono::steady_clock::now() - begun < kSettleSpin) {
    std::this_thread::yield();
  } else {
    std::this_thread::sleep_for(kSettlePoll);
  }
}

}  // namespace

NcclWatch::NcclWatch(const CudaProperties& gpu, ncclComm_t comm, double timeout_seconds)
    : gpu_(gpu), comm_(comm), timeout_(timeout_seconds), thread_([this] { loop(); }) {}

NcclWatch::~NcclWatch() {
  {
    const std::scoped_lock lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
  const NcclApi& api = nccl_api();
  if (failure_.empty() && comm_ != nullptr) {
    ncclResult_t state = api.CommFinalize(comm_);
    const auto deadline = Clock::now() + timeout_;
    while (state == ncclInProgress && Clock::now() < deadline) {
      std::this_thread::sleep_for(kSettlePoll);
      if (api.CommGetAsyncError(comm_, &state) != ncclSuccess) break;
    }
    if (state == ncclSuccess) {
      api.CommDestroy(comm_);
    } else {
      api.CommAbort(comm_);
    }
  }
  for (const Running& entry : running_) {
    cudaEventDestroy(entry.begin);
    cudaEventDestroy(entry.end);
  }
  for (cudaEvent_t event : spare_) cudaEventDestroy(event);
}

void NcclWatch::require_healthy() const {
  if (!failure_.empty()) fail("{}", failure_);
}

void NcclWatch::settle(ncclResult_t result, const std::string& where) {
  const auto begun = Clock::now();
  const auto deadline = begun + timeout_;
  while (result == ncclInProgress) {
    if (Clock::now() > deadline) {
      give_up(fmt::format("{}: NCCL was not ready after {:g} s (a rank may have died or stalled)", where,
                          timeout_.count()));
      break;
    }
    pause(begun);
    ncclResult_t state = ncclSuccess;
    const ncclResult_t asked = nccl_api().CommGetAsyncError(comm_, &state);
    result = asked == ncclSuccess ? state : asked;
  }
  if (result != ncclSuccess && failure_.empty())
    give_up(fmt::format("{}: {}", where, describe_nccl_error(result, comm_)));
  require_healthy();
}

void NcclWatch::start(cudaStream_t stream, std::string where) {
  retire_finished();
  cudaEvent_t begin = take_event();
  Running& entry = running_.emplace_back(Running{begin, take_event(), std::move(where)});
  LLAMA_ZERO_CUDA(cudaEventRecord(entry.begin, stream));
}

void NcclWatch::finish(cudaStream_t stream) {
  running_.back().given = true;
  LLAMA_ZERO_CUDA(cudaEventRecord(running_.back().end, stream));
  changed_.notify_all();
}

void NcclWatch::loop() {
  cudaSetDevice(gpu_.ordinal);
  std::unique_lock lock(mutex_);
  while (!ending_ && failure_.empty()) {
    if (running_.empty()) {
      changed_.wait(lock, [this] { return ending_ || !running_.empty(); });
    } else {
      changed_.wait_for(lock, kLookEvery, [this] { return ending_; });
    }
    if (!ending_ && failure_.empty()) look();
  }
}

void NcclWatch::look() {
  ncclResult_t state = ncclSuccess;
  const ncclResult_t asked = nccl_api().CommGetAsyncError(comm_, &state);
  const ncclResult_t result = asked == ncclSuccess ? state : asked;
  const std::string where = running_.empty() ? fmt::format("GPU {}", gpu_.ordinal) : running_.front().where;
  if (result != ncclSuccess && result != ncclInProgress) {
    give_up(fmt::format("{}: {}", where, describe_nccl_error(result, comm_)));
    return;
  }
  retire_finished();
  if (!running_.empty() && overdue(running_.front())) {
    give_up(fmt::format("{} did not finish in {:g} s (a rank may have died or stalled)", running_.front().where,
                        timeout_.count()));
  }
}

// A lost GPU is reported by whoever waits for it; here it only ends the watching of the collective.
void NcclWatch::retire_finished() {
  while (!running_.empty() && running_.front().given && cudaEventQuery(running_.front().end) != cudaErrorNotReady) {
    spare_.push_back(running_.front().begin);
    spare_.push_back(running_.front().end);
    running_.pop_front();
  }
}

// The collectives run one after another, so only the first can have begun.
bool NcclWatch::overdue(Running& entry) const {
  if (!entry.deadline) {
    if (cudaEventQuery(entry.begin) == cudaErrorNotReady) return false;
    entry.deadline = Clock::now() + std::chrono::duration_cast<Clock::duration>(timeout_);
  }
  return Clock::now() > *entry.deadline;
}

// Kernels of NCCL that wait for a lost rank end when the communicator is aborted.
void NcclWatch::give_up(std::string reason) {
  failure_ = std::move(reason);
  nccl_api().CommAbort(comm_);
  comm_ = nullptr;
}

cudaEvent_t NcclWatch::take_event() {
  if (spare_.empty()) {
    cudaEvent_t event = nullptr;
    LLAMA_ZERO_CUDA(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
    return event;
  }
  cudaEvent_t event = spare_.back();
  spare_.pop_back();
  return event;
}

}  // namespace llama_zero
