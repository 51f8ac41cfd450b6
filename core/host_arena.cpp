#include "core/host_arena.h"

namespace llama_zero {
namespace {

// Large arrays all begin on huge pages; equal elements of two of them would meet in the same memory banks and cache
// sets, which can cost half the speed of an update that walks through several. Each begins this much further in.
constexpr std::size_t kStagger = 37 * 4096 + 256;
constexpr std::size_t kStaggeredArrays = 8;
constexpr std::size_t kLargeArray = std::size_t{32} << 20U;

std::size_t align_up(std::size_t bytes) {
  return (bytes + Arena::kAlignment - 1) / Arena::kAlignment * Arena::kAlignment;
}

}  // namespace

HostArena::~HostArena() {
  if (counts_only()) return;
  for (const HostBlock& block : blocks_) device_.deallocate_host(block);
}

View HostArena::allocate(std::string_view label, DType dtype, std::int64_t numel, HostMemory kind,
                         const HostTouch& touch) {
  require(numel >= 0, "host memory: negative size {} for {}", numel, label);
  const std::size_t own = align_up(static_cast<std::size_t>(numel) * size_of(dtype));
  const std::size_t lead = own < kLargeArray ? 0 : large_arrays_++ % kStaggeredArrays * kStagger;
  const std::size_t bytes = lead + own;
  const auto touch_own = [&](View memory) {
    touch(memory.slice(static_cast<std::int64_t>(lead), static_cast<std::int64_t>(own)));
  };
  HostBlock block;
  try {
    block = counts_only() ? HostBlock{device_.allocate(bytes), bytes, kind, false}
                          : device_.allocate_host(bytes, kind, touch_own);
  } catch (const Error& error) {
    fail("{} of host memory for '{}' could not be had, {} are in use: {}", format_bytes(bytes), label,
         format_bytes(report_.current_bytes), error.what());
  }
  blocks_.push_back(block);
  report_.current_bytes = report_.peak_bytes += bytes;
  report_.at_peak[std::string(label)] += bytes;
  report_.peak_by_label[std::string(label)] += bytes;
  return {block.data + lead, numel, dtype};
}

}  // namespace llama_zero
