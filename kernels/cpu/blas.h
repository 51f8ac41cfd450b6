// OpenBLAS's matrix product for float and double, one thread a call.
#pragma once

#include <cblas.h>

#include <cstdint>

namespace llama_zero::cpu {

/// Matrices are row-major with `ld*` elements from row to row. Transposed means that the matrix used is the transpose
/// of the one in memory.
enum class Layout { kPlain, kTransposed };

inline CBLAS_TRANSPOSE blas_layout(Layout layout) { return layout == Layout::kPlain ? CblasNoTrans : CblasTrans; }

/// c[m, n] = alpha * a[m, k] * b[k, n] + beta * c; beta = 0 does not read c.
inline void gemm(Layout layout_a, Layout layout_b, std::int64_t m, std::int64_t n, std::int64_t k, float alpha,
                 const float* a, std::int64_t lda, const float* b, std::int64_t ldb, float beta, float* c,
                 std::int64_t ldc) {
  cblas_sgemm(CblasRowMajor, blas_layout(layout_a), blas_layout(layout_b), static_cast<blasint>(m),
              static_cast<blasint>(n), static_cast<blasint>(k), alpha, a, static_cast<blasint>(lda), b,
              static_cast<blasint>(ldb), beta, c, static_cast<blasint>(ldc));
}
inline void gemm(Layout layout_a, Layout layout_b, std::int64_t m, std::int64_t n, std::int64_t k, double alpha,
                 const double* a, std::int64_t lda, const double* b, std::int64_t ldb, double beta, double* c,
                 std::int64_t ldc) {
  cblas_dgemm(CblasRowMajor, blas_layout(layout_a), blas_layout(layout_b), static_cast<blasint>(m),
              static_cast<blasint>(n), static_cast<blasint>(k), alpha, a, static_cast<blasint>(lda), b,
              static_cast<blasint>(ldb), beta, c, static_cast<blasint>(ldc));
}

/// Must be called once before the first product: the team of threads is ours, so OpenBLAS must not start its own.
inline void use_one_blas_thread() { openblas_set_num_threads(1); }

}  // namespace llama_zero::cpu
