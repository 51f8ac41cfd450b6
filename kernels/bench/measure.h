// Checking a case against fp64 and timing it.
#pragma once

#include "kernels/bench/case.h"

namespace llama_zero::bench {

struct Timing {
  double median_seconds = 0.0;
  double spread = 0.0;  ///< (90th - 10th percentile) / median
  int samples = 0;
};

/// Runs `work` until there are at least `min_samples` samples and 0.3 seconds of them; short work is repeated inside a
/// sample so that a sample lasts at least a millisecond.
Timing time_it(Stream& stream, const std::function<void()>& work, int min_samples);

struct Comparison {
  double error = 0.0;      ///< largest |difference| of a result over the largest magnitude of that result
  double tolerance = 0.0;  ///< 4 eps of the storage (inputs of later roundings) + 4 sqrt(n) eps of fp32 sums of n terms
  bool ok() const { return error <= tolerance; }
};

/// Runs the op once on `backend` and once in fp64 on `reference`, on the same numbers, and compares all results.
Comparison compare_with_fp64(const OpEntry& op, const Shape& shape, DType dtype, Backend& backend, Backend& reference);

/// Rates to measure against, taken in the same run.
struct Peaks {
  double copy_bytes_per_second = 0.0;  ///< fp32 cast to fp32 of 64 MiB, read and write counted
  double gemm_flops_per_second = 0.0;  ///< fp32 linear_forward at 1536 x 1536 x 1536
};
Peaks measure_peaks(Backend& backend);

}  // namespace llama_zero::bench
