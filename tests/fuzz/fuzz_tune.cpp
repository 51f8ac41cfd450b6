// Any text as a tune file: refused, or a table that is written again as it was read.
#include "kernels/cuda/tune.h"
#include "tests/fuzz/scratch_file.h"

using namespace llama_zero;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  fuzz::expect_error_or_success([&] {
    const std::string again = TuneTable::parse(text, "tune.json").text();
    if (TuneTable::parse(again, "tune.json").text() != again) std::abort();
  });
  return 0;
}
