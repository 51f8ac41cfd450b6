// Few cases that hold every pair of values: for tests over many options.
#pragma once

#include <cstddef>
#include <functional>
#include <numeric>
#include <vector>

namespace llama_zero::test {

/// The value of every axis, as an index.
using AxisValues = std::vector<int>;

/// All legal combinations, the last axis running fastest. `sizes`: how many values each axis has.
inline std::vector<AxisValues> all_combinations(const std::vector<int>& sizes,
                                                const std::function<bool(const AxisValues&)>& is_legal) {
  std::vector<AxisValues> all;
  AxisValues values(sizes.size(), 0);
  for (std::size_t axis = sizes.size();;) {
    if (is_legal(values)) all.push_back(values);
    for (axis = sizes.size(); axis > 0 && ++values[axis - 1] == sizes[axis - 1]; --axis) values[axis - 1] = 0;
    if (axis == 0) return all;
  }
}

/// Which pairs of two axes' values have been seen.
class PairSet {
 public:
  explicit PairSet(const std::vector<int>& sizes) : first_(sizes.size()) {
    for (std::size_t axis = 1; axis < sizes.size(); ++axis) {
      first_[axis] = first_[axis - 1] + static_cast<std::size_t>(sizes[axis - 1]);
    }
    values_ = static_cast<std::size_t>(std::accumulate(sizes.begin(), sizes.end(), 0));
    seen_.resize(values_ * values_);
  }

  /// How many pairs of `values` have not been seen.
  std::size_t fresh(const AxisValues& values) const {
    std::size_t count = 0;
    for_each(values, [&](std::size_t pair) { count += seen_[pair] == 0 ? 1 : 0; });
    return count;
  }
  void add(const AxisValues& values) {
    for_each(values, [&](std::size_t pair) { seen_[pair] = 1; });
  }
  std::size_t size() const { return static_cast<std::size_t>(std::accumulate(seen_.begin(), seen_.end(), 0)); }

 private:
  template <typename F>
  void for_each(const AxisValues& values, const F& f) const {
    for (std::size_t a = 0; a < values.size(); ++a) {
      for (std::size_t b = a + 1; b < values.size(); ++b) {
        f((first_[a] + static_cast<std::size_t>(values[a])) * values_ + first_[b] +
          static_cast<std::size_t>(values[b]));
      }
    }
  }

  std::vector<std::size_t> first_;
  std::size_t values_ = 0;
  std::vector<char> seen_;
};

inline PairSet pairs_of(const std::vector<int>& sizes, const std::vector<AxisValues>& cases) {
  PairSet pairs(sizes);
  for (const AxisValues& values : cases) pairs.add(values);
  return pairs;
}

/// Some of `all` in which every pair occurs that occurs in any: greedily, each the first of those that bring the most
/// new pairs. The same input gives the same cases.
inline std::vector<AxisValues> pairwise_cover(const std::vector<int>& sizes, const std::vector<AxisValues>& all) {
  std::vector<AxisValues> cover;
  PairSet seen(sizes);
  for (;;) {
    std::size_t most = 0;
    const AxisValues* best = nullptr;
    for (const AxisValues& values : all) {
      const std::size_t fresh = seen.fresh(values);
      if (fresh <= most) continue;
      most = fresh;
      best = &values;
    }
    if (best == nullptr) return cover;
    seen.add(*best);
    cover.push_back(*best);
  }
}

}  // namespace llama_zero::test
