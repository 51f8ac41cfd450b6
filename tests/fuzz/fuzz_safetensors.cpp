// Any bytes as a safetensors file: refused, or every weight in it can be read.
#include <vector>

#include "model/safetensors.h"
#include "tests/fuzz/scratch_file.h"

using namespace llama_zero;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::expect_error_or_success([&] {
    const SafetensorsFile file(fuzz::scratch_file(data, size));
    for (const auto& [name, tensor] : file.tensors()) {
      if (tensor.dtype != "F32" && tensor.dtype != "F16" && tensor.dtype != "BF16") continue;
      std::vector<float> values(static_cast<std::size_t>(tensor.numel));
      file.read(name, 0, values);
    }
  });
  return 0;
}
