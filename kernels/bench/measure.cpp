#include "kernels/bench/measure.h"

#include <algorithm>
#include <chrono>
#include <cmath>

namespace llama_zero::bench {

namespace {

double seconds_of(Stream& stream, const std::function<void()>& work, int repeats) {
  stream.synchronize();
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < repeats; ++i) work();
  stream.synchronize();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / repeats;
}

/// Results of one run of the op, as doubles.
struct Results {
  std::vector<std::vector<double>> values;
  std::int64_t reduction = 1;
};

Results run_once(const OpEntry& op, const Shape& shape, DType storage, DType values, Backend& backend) {
  const Arena::Scope scope(*backend.arena);
  CaseBuilder builder(backend, storage, values);
  const Case c = op.make(builder, shape);
  c.run();
  Results results;
  results.reduction = c.reduction;
  for (const View& view : c.results) results.values.push_back(download(backend, view));
  return results;
}

/// Largest difference over largest magnitude; infinite when a value is not a number.
double relative_difference(const std::vector<double>& got, const std::vector<double>& want) {
  double difference = 0.0;
  double magnitude = 0.0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    const double d = std::fabs(got[i] - want[i]);
    if (std::isnan(d)) return INFINITY;
    difference = std::max(difference, d);
    magnitude = std::max(magnitude, std::fabs(want[i]));
  }
  return magnitude > 0.0 ? difference / magnitude : difference;
}

}  // namespace

Timing time_it(Stream& stream, const std::function<void()>& work, int min_samples) {
  constexpr double kSampleSeconds = 1e-3;
  constexpr double kTotalSeconds = 0.3;
  const double first = seconds_of(stream, work, 1);  // warms up; its time is used to choose the repeats only
  const double warm = std::min(first, seconds_of(stream, work, 1));
  const int repeats = std::max(1, static_cast<int>(kSampleSeconds / std::max(warm, 1e-9)));
  std::vector<double> samples;
  double total = 0.0;
  while (static_cast<int>(samples.size()) < min_samples || total < kTotalSeconds) {
    samples.push_back(seconds_of(stream, work, repeats));
    total += samples.back() * repeats;
  }
  std::sort(samples.begin(), samples.end());
  const auto at = [&](double quantile) {
    return samples[static_cast<std::size_t>(quantile * static_cast<double>(samples.size() - 1))];
  };
  return {at(0.5), (at(0.9) - at(0.1)) / at(0.5), static_cast<int>(samples.size())};
}

Comparison compare_with_fp64(const OpEntry& op, const Shape& shape, DType dtype, Backend& backend, Backend& reference) {
  const Results got = run_once(op, shape, dtype, dtype, backend);
  const Results want = run_once(op, shape, DType::kF64, dtype, reference);
  Comparison comparison;
  for (std::size_t i = 0; i < want.values.size(); ++i) {
    comparison.error = std::max(comparison.error, relative_difference(got.values[i], want.values[i]));
  }
  comparison.tolerance =
      4.0 * epsilon_of(dtype) + 4.0 * std::sqrt(static_cast<double>(want.reduction)) * epsilon_of(DType::kF32);
  return comparison;
}

Peaks measure_peaks(Backend& backend) {
  Peaks peaks;
  const Arena::Scope scope(*backend.arena);
  CaseBuilder builder(backend, DType::kF32, DType::kF32);
  constexpr std::int64_t kElements = std::int64_t{16} << 20;
  const Cast copy{builder.random(kElements), builder.empty(DType::kF32, kElements), 1.0};
  const Timing copy_time = time_it(
      *backend.stream, [&] { backend.ops->cast(copy, *backend.stream); }, 10);
  peaks.copy_bytes_per_second = 8.0 * static_cast<double>(kElements) / copy_time.median_seconds;

  constexpr std::int64_t kSize = 1536;
  LinearForward product{kSize, kSize, kSize, builder.random(kSize * kSize), builder.random(kSize * kSize), {}};
  product.output = builder.empty(DType::kF32, kSize * kSize);
  builder.reserve_workspace(product);
  const Timing time = time_it(
      *backend.stream, [&] { backend.ops->linear_forward(product, *backend.stream); }, 10);
  peaks.gemm_flops_per_second = 2.0 * std::pow(static_cast<double>(kSize), 3.0) / time.median_seconds;
  return peaks;
}

}  // namespace llama_zero::bench
