#include "launcher/stop_signal.h"

#include <csignal>

#include <array>

namespace llama_zero {
namespace {

constexpr std::array kSignals = {SIGINT, SIGTERM, SIGUSR1};

volatile std::sig_atomic_t g_received = 0;
std::array<struct sigaction, kSignals.size()> g_former;

// The first signal is a request; the handler is gone for the second one, which then acts as it always does.
void remember(int signal_number) { g_received = signal_number; }

}  // namespace

StopSignal::StopSignal() {
  g_received = 0;
  struct sigaction action {};
  action.sa_handler = remember;
  sigemptyset(&action.sa_mask);
  for (std::size_t i = 0; i < kSignals.size(); ++i) {
    action.sa_flags = SA_RESTART | (kSignals[i] == SIGUSR1 ? 0 : static_cast<int>(SA_RESETHAND));
    sigaction(kSignals[i], &action, &g_former[i]);
  }
}

StopSignal::~StopSignal() {
  for (std::size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &g_former[i], nullptr);
}

int StopSignal::received() const { return g_received; }

}  // namespace llama_zero
