// Checking a case against fp64 and timing it.
#pragma once

#include "kernels/bench/case.h"

namespace llama_zero::bench {

struct Timing {
  double median_seconds = 0.0;
  double spread = 0.0;  ///< (90th - 10th percentile) / median
  int samples = 0;
};

/// At least `min_samples` samples of `work`. On the CPU also at least 0.3 seconds of them, and short work is repeated
/// inside a sample so that a sample lasts at least a millisecond. On a GPU a sample is one run between two events,
/// after some that are not counted, with the L2 cache overwritten before each.
Timing time_it(Backend& backend, const std::function<void()>& work, int min_samples);

struct Comparison {
  double error = 0.0;      ///< largest |difference| of a result over the largest magnitude of that result
  double tolerance = 0.0;  ///< 4 eps of the storage (inputs of later roundings) + 4 sqrt(n) eps of fp32 sums of n terms
  std::int64_t compared = 0;  ///< elements
  bool ok() const { return error <= tolerance; }
};
/// The worse one, of all that was compared.
Comparison worse(const Comparison& a, const Comparison& b);

/// Runs the op once on `backend` and once in fp64 on `reference`, on the same numbers, and compares all results.
Comparison compare_with_fp64(const OpEntry& op, const Shape& shape, DType dtype, Backend& backend, Backend& reference);

/// Runs the case and compares the elements that `expected` gives.
Comparison compare_with_expected(const Case& c, DType dtype, Backend& backend);

/// Rates to measure against, taken in the same run.
struct Peaks {
  double copy_bytes_per_second = 0.0;  ///< read and write counted
  double gemm_flops_per_second = 0.0;
  std::string description;  ///< of what: "fp32, 2 x 64 MiB; fp32, 1536^3"
};
Peaks measure_peaks(Backend& backend);

}  // namespace llama_zero::bench
