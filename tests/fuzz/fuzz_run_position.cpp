// Any text as the "run" object of a checkpoint's manifest: refused, or a position that is written again as it was read.
#include "launcher/run_position.h"

#include <cmath>

#include "tests/fuzz/scratch_file.h"

using namespace llama_zero;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  fuzz::expect_error_or_success([&] {
    RunPosition position = parse_run_position(text, "manifest.json");
    if (position.steps < 0 || position.epoch < 0 || position.row_in_epoch < 0) std::abort();
    const std::string again = format_run_position(position);
    RunPosition second = parse_run_position(again, "manifest.json");
    if (format_run_position(second) != again) std::abort();
    // A loss that is no number is written as null; the rest is the same to the bit.
    if (std::isnan(position.first_loss)) second.first_loss = position.first_loss = 0.0;
    if (!(second == position)) std::abort();
  });
  return 0;
}
