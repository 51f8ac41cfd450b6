#include "launcher/thread_waiting.h"

#include <unistd.h>

#include <cstdlib>

namespace llama_zero {

void restart_with_sleeping_threads(char** argv) {
  if (std::getenv("OMP_WAIT_POLICY") != nullptr || std::getenv("GOMP_SPINCOUNT") != nullptr) return;
  if (::setenv("OMP_WAIT_POLICY", "passive", 0) != 0) return;
  ::execv("/proc/self/exe", argv);
}

}  // namespace llama_zero
