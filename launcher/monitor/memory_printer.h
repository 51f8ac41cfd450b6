// memory_breakdown: memory before and after the forward, the backward and the update.
#pragma once

#include <functional>
#include <string_view>

#include "core/arena.h"
#include "zero/step_observer.h"

namespace llama_zero {

/// The update has its lines at the boundary only; the head belongs to the backward (zero/step_observer.h).
class MemoryPrinter final : public StepObserver {
 public:
  MemoryPrinter(Arena& arena, std::function<void(std::string_view)> print);
  void at(StepPoint point, int unit, Stream& compute) override;

 private:
  void show(std::string_view title);

  Arena& arena_;
  std::function<void(std::string_view)> print_;
};

}  // namespace llama_zero
