#include "launcher/comm_fault.h"

#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <string>

#include "core/error.h"

namespace llama_zero {

namespace {

[[noreturn]] void stay() {
  for (;;) ::pause();
}

}  // namespace

CommFault::CommFault(Communicator& communicator, HostGroup& group) : communicator_(communicator) {
  const char* text = std::getenv("LLAMA_ZERO_TEST_COMM_FAULT");
  if (text == nullptr) return;
  const std::string wanted = text;
  const std::size_t at = wanted.find('@');
  const std::size_t colon = wanted.find(':');
  const std::string action = wanted.substr(0, at);
  require((action == "stall" || action == "kill") && colon != std::string::npos,
          "LLAMA_ZERO_TEST_COMM_FAULT={}: stall@RANK:STEP, kill@RANK:STEP or stall@RANK:STEP/AGREEMENT expected",
          wanted);
  if (std::atoi(wanted.c_str() + at + 1) != communicator.rank()) return;
  kills_ = action == "kill";
  const std::int64_t step = std::atoll(wanted.c_str() + colon + 1);
  if (const std::size_t slash = wanted.find('/'); slash != std::string::npos) {
    group.set_hook([step, name = wanted.substr(slash + 1)](std::string_view what, std::int64_t after) {
      if (after == step && what == name) stay();
    });
    return;
  }
  step_ = step;
  communicator.add_observer(*this);
}

CommFault::~CommFault() { communicator_.remove_observer(*this); }

void CommFault::before(const CommCall& call) {
  if (call.step != step_) return;
  if (kills_) std::raise(SIGKILL);
  stay();
}

}  // namespace llama_zero
