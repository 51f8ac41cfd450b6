// When a run saves a checkpoint.
#pragma once

#include <cstdint>
#include <string_view>

namespace llama_zero {

/// Every so many steps or every so many seconds; neither: only when the run is told to stop.
struct SaveInterval {
  std::int64_t steps = 0;
  double seconds = 0.0;
};

/// "500" steps, "30m", "2h", "90s", or "none". Throws Error that says so for anything else.
SaveInterval parse_save_interval(std::string_view text);

}  // namespace llama_zero
