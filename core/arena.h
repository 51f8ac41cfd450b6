// One planned region of device memory, handed out by label.
//
// All memory of a run is taken once, as the capacity of an Arena; what is set up for the whole run is allocated first
// and stays, what a step needs is allocated inside Scopes and given back in reverse order. On the null device an Arena
// has no storage and no limit: replaying a step there gives the plan (architecture: "Memory is planned, then fixed").
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/device.h"

namespace llama_zero {

/// Bytes by label. Sizes include alignment, so the labels of `at_peak` sum to `peak_bytes` exactly.
struct MemoryReport {
  std::size_t capacity_bytes = 0;
  std::size_t current_bytes = 0;
  std::size_t peak_bytes = 0;
  std::map<std::string, std::size_t> at_peak;        ///< what was allocated at the moment of the highest total
  std::map<std::string, std::size_t> peak_by_label;  ///< the highest each label ever was on its own
};

/// What is in use now, and the most that was since the last time it was asked for.
struct ArenaUse {
  std::size_t current_bytes = 0, peak_bytes = 0, capacity_bytes = 0;
};

class Arena {
 public:
  static constexpr std::size_t kAlignment = 256;

  struct Options {
    /// Fill memory with 0xff bytes (NaN in every floating format) when it is allocated and when it is released, so that
    /// reading what nobody wrote, or what was given back, cannot go unseen.
    bool poison = false;
  };

  /// Takes `capacity_bytes` from `device`, which must outlive the arena; 0 on a null device means no limit.
  Arena(Device& device, std::size_t capacity_bytes, std::string name, Options options);
  Arena(Device& device, std::size_t capacity_bytes, std::string name)
      : Arena(device, capacity_bytes, std::move(name), Options{}) {}
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  /// Uninitialised memory for `numel` elements, aligned to 256 bytes. Throws Error with the labelled table when it does
  /// not fit. Labels are the rows of the memory table: "weights", "gradients", "optimizer", "activations", ...
  View allocate(std::string_view label, DType dtype, std::int64_t numel);

  /// Gives back, at its end, everything allocated since its start. Scopes nest.
  class Scope {
   public:
    explicit Scope(Arena& arena) : arena_(arena), mark_(arena.blocks_.size()) {}
    ~Scope() { arena_.release_to(mark_); }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Arena& arena_;
    std::size_t mark_;
  };

  /// A position in the allocation stack, for owners whose lifetime is not a C++ scope.
  std::size_t mark() const { return blocks_.size(); }
  /// Gives back everything allocated after `mark`, latest first.
  void release_to(std::size_t mark) noexcept;

  MemoryReport report() const;
  /// Starts a new watch for the peak of the next call; report() is not touched by it.
  ArenaUse use_since_last();
  Device& device() const { return device_; }
  const std::string& name() const { return name_; }
  /// Writes 0xff over `view` when the arena poisons; for owners that hand the same memory out again (leased units).
  void poison(View view) noexcept;

 private:
  struct Block {
    std::size_t offset;
    std::size_t bytes;
    std::string label;
  };

  Device& device_;
  std::string name_;
  Options options_;
  std::size_t capacity_;
  std::byte* base_ = nullptr;
  std::unique_ptr<Stream> stream_;
  std::size_t used_ = 0;
  std::size_t peak_ = 0;
  std::size_t recent_peak_ = 0;
  std::vector<Block> blocks_;
  std::map<std::string, std::size_t, std::less<>> current_by_label_;
  std::map<std::string, std::size_t> at_peak_;
  std::map<std::string, std::size_t> peak_by_label_;
};

/// "12.35 GB" (1 GB = 2^30 bytes, as DeepSpeed prints it).
std::string format_bytes(std::size_t bytes);

/// The table of a report: a line a label, largest first, and the total.
std::string format_memory_table(const MemoryReport& report);

}  // namespace llama_zero
