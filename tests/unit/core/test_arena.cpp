#include <doctest/doctest.h>

#include <cmath>
#include <numeric>

#include "core/arena.h"

using namespace llama_zero;

namespace {

std::size_t sum_of(const std::map<std::string, std::size_t>& labels) {
  return std::accumulate(labels.begin(), labels.end(), std::size_t{0},
                         [](std::size_t sum, const auto& row) { return sum + row.second; });
}

}  // namespace

TEST_CASE("labels at the peak sum to the peak, and scopes give memory back") {
  const auto device = make_cpu_device();
  Arena arena(*device, 64 * 1024, "test");
  arena.allocate("weights", DType::kF32, 1000);
  {
    const Arena::Scope scope(arena);
    arena.allocate("activations", DType::kF16, 3000);
    {
      const Arena::Scope inner(arena);
      arena.allocate("workspace", DType::kU8, 100);
    }
    arena.allocate("activations", DType::kF16, 10);
  }
  const MemoryReport report = arena.report();
  CHECK(report.current_bytes == 4096);
  CHECK(sum_of(report.at_peak) == report.peak_bytes);
  CHECK(report.peak_bytes == 4096 + 6144 + 256);
  CHECK(report.peak_by_label.at("activations") == 6144 + 256);
}

TEST_CASE("an arena that is too small throws with its labelled table") {
  const auto device = make_cpu_device();
  Arena arena(*device, 4096, "test");
  arena.allocate("weights", DType::kF32, 512);
  CHECK_THROWS_WITH_AS(arena.allocate("optimizer", DType::kF32, 2048), doctest::Contains("'optimizer' does not fit"),
                       Error);
}

TEST_CASE("a poisoning arena fills memory with NaN when it is taken and when it is given back") {
  const auto device = make_cpu_device();
  Arena arena(*device, 4096, "test", {.poison = true});
  View view;
  {
    const Arena::Scope scope(arena);
    view = arena.allocate("activations", DType::kF32, 8);
    for (const float x : view.span<float>()) CHECK(std::isnan(x));
    for (float& x : view.span<float>()) x = 1.0F;
  }
  for (const float x : view.span<float>()) CHECK(std::isnan(x));
}

TEST_CASE("an arena on the null device plans without memory") {
  const auto device = make_null_device();
  Arena arena(*device, 0, "plan");
  arena.allocate("weights", DType::kF32, std::int64_t{1} << 36);
  CHECK(arena.report().peak_bytes == std::size_t{1} << 38U);
}

TEST_CASE("a view refuses another dtype and elements outside itself") {
  std::array<float, 4> values{1, 2, 3, 4};
  const View view = View::of(std::span<float>(values));
  CHECK(view.slice(1, 2).span<float>()[0] == 2.0F);
  CHECK_THROWS_AS(view.as<Half>(), Error);
  CHECK_THROWS_AS(view.slice(3, 2), Error);
}
