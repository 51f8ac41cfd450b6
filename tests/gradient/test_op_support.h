// Gradients of ops in double against central differences.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/device.h"
#include "core/rng.h"
#include "core/view.h"
#include "kernels/ops.h"

namespace llama_zero::test {

using Numbers = std::vector<double>;

inline Numbers random_numbers(std::int64_t count, std::uint64_t seed, double scale = 1.0) {
  Numbers numbers(static_cast<std::size_t>(count));
  const CounterRng rng(seed, 3);
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = scale * rng.normal(i);
  return numbers;
}

inline View view_of(Numbers& numbers) { return View::of(std::span<double>(numbers)); }
inline ConstView view_of(const Numbers& numbers) { return ConstView::of(std::span<const double>(numbers)); }
inline ConstView view_of(const std::vector<std::int32_t>& ids) {
  return ConstView::of(std::span<const std::int32_t>(ids));
}

inline double inner(const Numbers& a, const Numbers& b) {
  double total = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) total += a[i] * b[i];
  return total;
}

/// The CPU backend with room for the scratch of any small op.
class DoubleOps {
 public:
  DoubleOps() : ops_(make_cpu_ops(2)), device_(make_cpu_device()), stream_(device_->create_stream("gradient")) {
    workspace_.assign(std::size_t{1} << 20U, std::byte{0xff});
    ops_->set_workspace({workspace_.data(), static_cast<std::int64_t>(workspace_.size()), DType::kU8});
  }
  Ops* operator->() { return ops_.get(); }
  Stream& stream() { return *stream_; }

 private:
  std::vector<std::byte> workspace_;
  std::unique_ptr<Ops> ops_;
  std::unique_ptr<Device> device_;
  std::unique_ptr<Stream> stream_;
};

/// Compares `gradient` of `loss` with respect to every element of `x` with central differences of fourth order,
/// (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12h. With h = 1e-3 they are within about h^4 and eps |f| / h, 1e-12 of f. An
/// element's error is relative to its own gradient, or to 1e-4 of the largest where it is smaller than that.
inline void check_gradient(const std::string& name, Numbers& x, const Numbers& gradient,
                           const std::function<double()>& loss) {
  constexpr double kStep = 1e-3;
  REQUIRE(x.size() == gradient.size());
  double largest = 0.0;
  for (const double g : gradient) largest = std::max(largest, std::fabs(g));
  REQUIRE(largest > 0.0);
  double worst = 0.0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double at = x[i];
    const auto value = [&](double offset) {
      x[i] = at + offset;
      return loss();
    };
    const double quotient =
        (8.0 * (value(kStep) - value(-kStep)) - (value(2.0 * kStep) - value(-2.0 * kStep))) / (12.0 * kStep);
    x[i] = at;
    const double error = std::fabs(quotient - gradient[i]) / std::max(std::fabs(gradient[i]), 1e-4 * largest);
    if (!(error <= worst)) worst = error;  // true for NaN
  }
  MESSAGE(fmt::format("{}: worst relative error {:.2e} over {} elements", name, worst, x.size()));
  CHECK(worst < 1e-6);
}

}  // namespace llama_zero::test
