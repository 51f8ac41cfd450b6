#include "core/arena.h"

#include <algorithm>
#include <utility>

namespace llama_zero {
namespace {

std::size_t align_up(std::size_t bytes) {
  return (bytes + Arena::kAlignment - 1) / Arena::kAlignment * Arena::kAlignment;
}

}  // namespace

Arena::Arena(Device& device, std::size_t capacity_bytes, std::string name, Options options)
    : device_(device), name_(std::move(name)), options_(options), capacity_(align_up(capacity_bytes)) {
  stream_ = device_.create_stream("arena " + name_);
  const bool planning = device_.type() == DeviceType::kNull;
  if (planning && capacity_ == 0) capacity_ = std::size_t{1} << 50U;
  if (capacity_ > 0) base_ = device_.allocate(capacity_);
}

Arena::~Arena() {
  if (base_ != nullptr) device_.deallocate(base_, capacity_);
}

View Arena::allocate(std::string_view label, DType dtype, std::int64_t numel) {
  require(numel >= 0, "arena {}: negative size {} for {}", name_, numel, label);
  const std::size_t bytes = align_up(static_cast<std::size_t>(numel) * size_of(dtype));
  if (used_ + bytes > capacity_) {
    fail("arena {}: {} for '{}' does not fit, {} of {} in use\n{}", name_, format_bytes(bytes), label,
         format_bytes(used_), format_bytes(capacity_), format_memory_table(report()));
  }

  const View view(base_ + used_, numel, dtype);
  blocks_.push_back({used_, bytes, std::string(label)});
  used_ += bytes;
  recent_peak_ = std::max(recent_peak_, used_);
  auto current = current_by_label_.try_emplace(std::string(label), 0).first;
  current->second += bytes;
  auto& label_peak = peak_by_label_[current->first];
  label_peak = std::max(label_peak, current->second);
  if (used_ > peak_) {
    peak_ = used_;
    at_peak_.clear();
    for (const auto& [name, size] : current_by_label_) at_peak_[name] = size;
  }
  poison(view);
  return view;
}

ArenaUse Arena::use_since_last() {
  const ArenaUse use{used_, recent_peak_, capacity_};
  recent_peak_ = used_;
  return use;
}

void Arena::release_to(std::size_t mark) noexcept {
  while (blocks_.size() > mark) {
    const Block& block = blocks_.back();
    used_ = block.offset;
    const auto current = current_by_label_.find(block.label);
    if (current != current_by_label_.end()) current->second -= block.bytes;
    poison(View(base_ + block.offset, static_cast<std::int64_t>(block.bytes), DType::kU8));
    blocks_.pop_back();
  }
}

void Arena::poison(View view) noexcept {
  if (!options_.poison || view.bytes() == 0) return;
  try {
    device_.synchronize();  // any stream may still be using what its owner has given back in stream order
    device_.fill_bytes(view, 0xff, *stream_);
    stream_->synchronize();
  } catch (const std::exception&) {  // poisoning is a debugging aid: the step itself reports a lost device
  }
}

MemoryReport Arena::report() const { return {capacity_, used_, peak_, at_peak_, peak_by_label_}; }

std::string format_bytes(std::size_t bytes) {
  const auto value = static_cast<double>(bytes);
  if (bytes >= std::size_t{1} << 30U) return fmt::format("{:.2f} GB", value / static_cast<double>(1U << 30U));
  if (bytes >= std::size_t{1} << 20U) return fmt::format("{:.2f} MB", value / static_cast<double>(1U << 20U));
  return fmt::format("{:.1f} KB", value / 1024.0);
}

std::string format_memory_table(const MemoryReport& report) {
  std::vector<std::pair<std::string, std::size_t>> rows(report.at_peak.begin(), report.at_peak.end());
  std::sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  std::string table;
  for (const auto& [label, bytes] : rows) {
    if (bytes > 0) table += fmt::format("  {:<24} {:>12}\n", label, format_bytes(bytes));
  }
  return table + fmt::format("  {:<24} {:>12}", "total", format_bytes(report.peak_bytes));
}

}  // namespace llama_zero
