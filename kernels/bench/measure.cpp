#include "kernels/bench/measure.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "core/error.h"
#include "kernels/bench/host_tensor.h"

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

namespace {

Timing summarise(std::vector<double> samples) {
  std::sort(samples.begin(), samples.end());
  const auto at = [&](double quantile) {
    return samples[static_cast<std::size_t>(quantile * static_cast<double>(samples.size() - 1))];
  };
  return {at(0.5), (at(0.9) - at(0.1)) / at(0.5), static_cast<int>(samples.size())};
}

Timing time_on_cpu(Stream& stream, const std::function<void()>& work, int min_samples) {
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
  return summarise(std::move(samples));
}

Timing time_on_gpu(Backend& backend, const std::function<void()>& work, int min_samples) {
  constexpr int kWarmUps = 5;
  const auto begin = backend.device->create_timing_event();
  const auto end = backend.device->create_timing_event();
  std::vector<double> samples;
  for (int i = 0; i < kWarmUps + min_samples; ++i) {
    backend.device->fill_bytes(backend.flush, static_cast<unsigned char>(i), *backend.stream);
    begin->record(*backend.stream);
    work();
    end->record(*backend.stream);
    end->synchronize();
    if (i >= kWarmUps) samples.push_back(end->elapsed_ms(*begin) * 1e-3);
  }
  return summarise(std::move(samples));
}

double tolerance_of(DType dtype, std::int64_t reduction) {
  return 4.0 * epsilon_of(dtype) + 4.0 * std::sqrt(static_cast<double>(reduction)) * epsilon_of(DType::kF32);
}

}  // namespace

Timing time_it(Backend& backend, const std::function<void()>& work, int min_samples) {
  return backend.is_gpu() ? time_on_gpu(backend, work, min_samples) : time_on_cpu(*backend.stream, work, min_samples);
}

Comparison worse(const Comparison& a, const Comparison& b) {
  Comparison result = a.error * b.tolerance >= b.error * a.tolerance ? a : b;
  result.compared = a.compared + b.compared;
  return result;
}

Comparison compare_with_fp64(const OpEntry& op, const Shape& shape, DType dtype, Backend& backend, Backend& reference) {
  const Results got = run_once(op, shape, dtype, dtype, backend);
  const Results want = run_once(op, shape, DType::kF64, dtype, reference);
  Comparison comparison;
  for (std::size_t i = 0; i < want.values.size(); ++i) {
    comparison.error = std::max(comparison.error, relative_difference(got.values[i], want.values[i]));
    comparison.compared += static_cast<std::int64_t>(want.values[i].size());
  }
  comparison.tolerance = tolerance_of(dtype, want.reduction);
  return comparison;
}

Comparison compare_with_expected(const Case& c, DType dtype, Backend& backend) {
  const Expectation wanted = c.expected();
  c.run();
  require(wanted.size() == c.results.size(), "{} results, {} expectations", c.results.size(), wanted.size());
  Comparison comparison;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const HostTensor result(backend, c.results[i]);
    std::vector<double> got;
    for (const std::int64_t index : wanted[i].index) got.push_back(result.at(index));
    comparison.error = std::max(comparison.error, relative_difference(got, wanted[i].value));
    comparison.compared += static_cast<std::int64_t>(got.size());
  }
  comparison.tolerance = tolerance_of(dtype, c.reduction);
  return comparison;
}

Peaks measure_peaks(Backend& backend) {
  constexpr int kPeakSamples = 30;
  const bool gpu = backend.is_gpu();
  const DType dtype = gpu ? DType::kF16 : DType::kF32;
  const std::int64_t elements = std::int64_t{gpu ? 256 : 16} << 20;
  const std::int64_t size = gpu ? 8192 : 1536;
  Peaks peaks;
  peaks.description =
      fmt::format("copy of {} MiB; {} GEMM of {}^3", elements * size_of(dtype) >> 20, name_of(dtype), size);
  const Arena::Scope scope(*backend.arena);
  CaseBuilder builder(backend, dtype, dtype);
  const View source = builder.random(elements);
  const View destination = builder.empty(dtype, elements);
  const Cast cast{source, destination, 1.0};
  // The CPU's copy is the threaded cast; a GPU's is the driver's own.
  const Timing copy = time_it(
      backend,
      [&] {
        if (gpu) {
          backend.device->copy(source, destination, *backend.stream);
        } else {
          backend.ops->cast(cast, *backend.stream);
        }
      },
      kPeakSamples);
  peaks.copy_bytes_per_second = 2.0 * static_cast<double>(source.bytes()) / copy.median_seconds;

  LinearForward product{size, size, size, builder.random(size * size), builder.random(size * size), {}};
  product.output = builder.empty(dtype, size * size);
  builder.reserve_workspace(product);
  const Timing time = time_it(
      backend, [&] { backend.ops->linear_forward(product, *backend.stream); }, gpu ? kPeakSamples : 10);
  peaks.gemm_flops_per_second = 2.0 * std::pow(static_cast<double>(size), 3.0) / time.median_seconds;
  return peaks;
}

}  // namespace llama_zero::bench
