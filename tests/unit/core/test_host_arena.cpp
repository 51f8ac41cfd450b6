#include <doctest/doctest.h>

#include <cstdint>

#include "core/host_arena.h"

using namespace llama_zero;

TEST_CASE("host arena: arrays are aligned zeros, counted by label") {
  const auto device = make_cpu_device();
  HostArena arena(*device);
  const View first = arena.allocate("host optimizer", DType::kF32, 100, HostMemory::kPinned);
  arena.allocate("host optimizer", DType::kF32, 1, HostMemory::kPageable);
  const View other = arena.allocate("host gradients", DType::kF16, 1000, HostMemory::kPinned);
  for (const float x : first.span<float>()) REQUIRE(x == 0.0F);
  CHECK(reinterpret_cast<std::uintptr_t>(other.raw()) % Arena::kAlignment == 0);
  CHECK(arena.report().at_peak.at("host optimizer") == 512 + 256);
  CHECK(arena.report().at_peak.at("host gradients") == 2048);
  CHECK(arena.report().peak_bytes == 512 + 256 + 2048);
}

TEST_CASE("host arena: whoever touches an array first sees all of it, once") {
  const auto device = make_cpu_device();
  HostArena arena(*device);
  int calls = 0;
  const View view = arena.allocate("host weights", DType::kU8, 300, HostMemory::kPinned, [&](View memory) {
    calls += 1;
    for (std::uint8_t& byte : memory.span<std::uint8_t>()) byte = 7;
  });
  CHECK(calls == 1);
  for (const std::uint8_t byte : view.span<std::uint8_t>()) REQUIRE(byte == 7);
}

TEST_CASE("host arena: on the null device a terabyte costs nothing and is counted as on a real one") {
  const auto planner = make_null_device();
  HostArena plan(*planner);
  plan.allocate("host optimizer", DType::kF32, std::int64_t{1} << 38, HostMemory::kPinned);
  CHECK(plan.report().peak_bytes == std::size_t{1} << 40U);
  CHECK(plan.counts_only());
}

TEST_CASE("host arena: large arrays do not begin at equal distances from a huge page") {
  const auto planner = make_null_device();
  HostArena plan(*planner);
  constexpr std::int64_t kElements = 16 << 20;
  const View a = plan.allocate("host optimizer", DType::kF32, kElements, HostMemory::kPinned);
  const View b = plan.allocate("host optimizer", DType::kF32, kElements, HostMemory::kPinned);
  CHECK((b.raw() - a.raw()) % (std::ptrdiff_t{2} << 20) != 0);
}
