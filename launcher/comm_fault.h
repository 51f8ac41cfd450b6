// A collective or an agreement that goes wrong on demand, for tests.
#pragma once

#include <cstdint>

#include "launcher/host_group.h"
#include "zero/communicator.h"

namespace llama_zero {

/// The variable LLAMA_ZERO_TEST_COMM_FAULT="stall@RANK:STEP" makes that rank stay for ever in the first collective of
/// that step, where the others wait for it; "kill@RANK:STEP" makes it end there by SIGKILL. "stall@RANK:STEP/NAME"
/// stays away from the agreement NAME (HostGroup) after that step instead. Nothing else without it.
class CommFault final : public CommObserver {
 public:
  /// Both must outlive the object. Throws Error for another text in the variable.
  CommFault(Communicator& communicator, HostGroup& group);
  ~CommFault() override;
  CommFault(const CommFault&) = delete;
  CommFault& operator=(const CommFault&) = delete;

  void before(const CommCall& call) override;
  void after(const CommCall&) override {}

 private:
  Communicator& communicator_;
  bool kills_ = false;
  std::int64_t step_ = -1;  ///< -1: never
};

}  // namespace llama_zero
