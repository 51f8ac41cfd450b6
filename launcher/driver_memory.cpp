#include "launcher/driver_memory.h"

#include <fmt/format.h>

#include "core/arena.h"
#include "core/log.h"

namespace llama_zero {

std::size_t library_bytes(const Runtime& runtime) {
  return kCudaLibraryBytes + (runtime.exchanges_by_nccl() ? kNcclBytes : 0);
}

void print_driver_memory(const MemoryPlan& plan, const Runtime& runtime) {
  const std::optional<std::size_t> used = runtime.driver_bytes();
  if (!used || runtime.rank() != 0) return;
  const std::size_t libraries = library_bytes(runtime);
  const std::size_t predicted = plan.total_bytes() + libraries;
  const double difference = static_cast<double>(*used) / static_cast<double>(predicted) - 1.0;
  log::info("driver    {} taken on the GPU; predicted {} = {} planned + {} of libraries ({:+.2f} %)",
            format_bytes(*used), format_bytes(predicted), format_bytes(plan.total_bytes()), format_bytes(libraries),
            100.0 * difference);
}

}  // namespace llama_zero
