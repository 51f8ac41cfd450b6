// A device tensor's bytes on the host, read number by number, and where to look in it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/rng.h"
#include "kernels/bench/case.h"
#include "kernels/cpu/convert.h"

namespace llama_zero::bench {

class HostTensor {
 public:
  HostTensor(Backend& backend, const ConstView& view) : bytes_(view.bytes()) {
    view_ = View(bytes_.data(), view.numel(), view.dtype());
    if (view.bytes() == 0) return;
    backend.device->copy(view, view_, *backend.stream);
    backend.stream->synchronize();
  }
  HostTensor(const HostTensor&) = delete;
  HostTensor& operator=(const HostTensor&) = delete;

  std::int64_t numel() const { return view_.numel(); }
  double at(std::int64_t index) const {
    double value = 0.0;
    cpu::load(ConstView(view_), index, 1, &value);
    return value;
  }
  std::int32_t id(std::int64_t index) const { return ConstView(view_).as<std::int32_t>()[index]; }
  std::vector<double> range(std::int64_t begin, std::int64_t count) const {
    std::vector<double> values(static_cast<std::size_t>(count));
    cpu::load(ConstView(view_), begin, count, values.data());
    return values;
  }
  /// Row `row` of a matrix with `columns` columns.
  std::vector<double> row(std::int64_t row, std::int64_t columns) const { return range(row * columns, columns); }

 private:
  std::vector<std::byte> bytes_;
  View view_;
};

/// `wanted` places of [0, count): the first, the last and others spread between them; all where there are no more.
inline std::vector<std::int64_t> places(std::int64_t count, std::int64_t wanted) {
  std::vector<std::int64_t> chosen;
  if (count <= wanted) {
    for (std::int64_t i = 0; i < count; ++i) chosen.push_back(i);
    return chosen;
  }
  const CounterRng rng(11, static_cast<std::uint64_t>(count));
  for (std::int64_t i = 0; i + 1 < wanted; ++i) {
    const double within = i == 0 ? 0.0 : rng.uniform(static_cast<std::uint64_t>(i));
    const double spot = (static_cast<double>(i) + within) / static_cast<double>(wanted);
    chosen.push_back(std::min(count - 1, static_cast<std::int64_t>(spot * static_cast<double>(count))));
  }
  chosen.push_back(count - 1);
  return chosen;
}

/// Rows and columns to look at: kRows x kColumns elements.
inline constexpr std::int64_t kRows = 64, kColumns = 64;

}  // namespace llama_zero::bench
