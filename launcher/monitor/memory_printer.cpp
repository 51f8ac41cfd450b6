#include "launcher/monitor/memory_printer.h"

#include <utility>

#include "launcher/monitor/deepspeed_text.h"

namespace llama_zero {

MemoryPrinter::MemoryPrinter(Arena& arena, std::function<void(std::string_view)> print)
    : arena_(arena), print_(std::move(print)) {}

void MemoryPrinter::at(StepPoint point, int, Stream&) {
  switch (point) {
    case StepPoint::kPass:
      return show("Engine before forward");
    case StepPoint::kHead:
      show("Engine after forward");
      return show("Engine before backward");
    case StepPoint::kPassEnd:
      return show("Engine after backward");
    case StepPoint::kReduced:
      return show("Engine before step");
    case StepPoint::kPublished:
      return show("Engine after step");
    default:
      return;
  }
}

void MemoryPrinter::show(std::string_view title) {
  const ArenaUse use = arena_.use_since_last();
  print_(memory_lines(title, {use.current_bytes, use.peak_bytes, use.capacity_bytes}, host_memory()));
}

}  // namespace llama_zero
