// The thread that notices when a collective on the GPU fails or never ends.
#pragma once

#include <cuda_runtime.h>

#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "core/cuda/cuda_device.h"
#include "zero/cuda/nccl_api.h"

namespace llama_zero {

/// Owns an NCCL communicator, which is only used with `mutex()` held, and watches what runs on it.
class NcclWatch {
 public:
  /// Takes `comm` over, in whatever state its start-up is.
  NcclWatch(const CudaProperties& gpu, ncclComm_t comm, double timeout_seconds);
  /// Ends the communicator: in order when nothing failed, else by abort.
  ~NcclWatch();
  NcclWatch(const NcclWatch&) = delete;
  NcclWatch& operator=(const NcclWatch&) = delete;

  std::mutex& mutex() { return mutex_; }
  ncclComm_t comm() const { return comm_; }
  /// With the mutex held: throws Error when something failed before.
  void require_healthy() const;
  /// With the mutex held: waits until NCCL has taken the call that gave `result`; throws Error naming `where` when it
  /// did not.
  void settle(ncclResult_t result, const std::string& where);
  /// With the mutex held: what `stream` is given from now on, until finish(), is the collective `where`. Its time
  /// counts from when the stream gets there: the host gives work long before.
  void start(cudaStream_t stream, std::string where);
  /// With the mutex held: it has been given.
  void finish(cudaStream_t stream);

 private:
  using Clock = std::chrono::steady_clock;
  struct Running {
    cudaEvent_t begin = nullptr, end = nullptr;
    std::string where;
    bool given = false;                                        ///< `end` has been recorded
    std::optional<Clock::time_point> deadline = std::nullopt;  ///< set when the stream was seen to have reached `begin`
  };

  void loop();
  void look();
  void retire_finished();
  bool overdue(Running& entry) const;
  void give_up(std::string reason);
  cudaEvent_t take_event();

  CudaProperties gpu_;
  ncclComm_t comm_;
  std::chrono::duration<double> timeout_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Running> running_;
  std::vector<cudaEvent_t> spare_;
  std::string failure_;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace llama_zero
