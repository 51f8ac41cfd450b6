// The few fp64 numbers of a step: sums of losses, squares of norms.
#include "tests/gpu/gpu_test.h"

namespace llama_zero::test {
namespace {

GPU_TEST_CASE("fill takes fp64 views of any length") {
  Gpu& gpu = Gpu::get();
  for (const std::int64_t count : {1, 3, 257, 1000}) {
    const GpuBuffer buffer(DType::kF64, count, 0);
    gpu.ops->fill({buffer.view(), 0.1}, *gpu.stream);
    std::vector<double> values(static_cast<std::size_t>(count));
    buffer.download(View::of(std::span<double>(values)));
    CHECK(values == std::vector<double>(static_cast<std::size_t>(count), 0.1));
    buffer.check_guards();
  }
}

}  // namespace
}  // namespace llama_zero::test
