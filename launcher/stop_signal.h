// SIGINT, SIGTERM and SIGUSR1 ask a run to end after its step. (mpirun forwards SIGUSR1 to all ranks; what it sends
// itself when it is interrupted it follows with SIGKILL after a second.) A second SIGINT or SIGTERM ends the process at
// once.
#pragma once

namespace llama_zero {

/// Installs the handlers for the lifetime of the object and restores the former ones after. One at a time.
class StopSignal {
 public:
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  /// The number of the signal that came, or 0.
  int received() const;
};

}  // namespace llama_zero
