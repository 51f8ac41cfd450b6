// Host memory of a rank by label: what offloading keeps there.
//
// Every view is memory of its own: page-locked in one piece of the size of the largest array, and first written by the
// threads that will work on it. Nothing is given back before the end. On the null device memory is only counted, and
// its views must not be read or written, so that a plan's host table is found as its device table is.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/arena.h"
#include "core/device.h"

namespace llama_zero {

class HostArena {
 public:
  /// `device` copies from and to this memory; it must outlive the arena.
  explicit HostArena(Device& device) : device_(device) {}
  ~HostArena();
  HostArena(const HostArena&) = delete;
  HostArena& operator=(const HostArena&) = delete;

  /// Memory for `numel` elements, aligned to 256 bytes, as `touch` left it: zeros. Throws Error, naming the label, when
  /// there is not so much.
  View allocate(std::string_view label, DType dtype, std::int64_t numel, HostMemory kind,
                const HostTouch& touch = touch_with_zeros);

  /// Whether views have no storage.
  bool counts_only() const { return device_.type() == DeviceType::kNull; }
  /// What is allocated, with capacity 0: there is no limit.
  const MemoryReport& report() const { return report_; }

 private:
  Device& device_;
  std::vector<HostBlock> blocks_;
  MemoryReport report_;
  std::size_t large_arrays_ = 0;
};

}  // namespace llama_zero
