// Matrix products by cuBLASLt: fp32 arithmetic (no TF32), plans cached by shape, scratch from the workspace.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernels/cuda/launch.h"
#include "kernels/ops.h"

namespace llama_zero::cuda {

/// Scratch that every product may use, whatever its shape: what cuBLAS recommends for Hopper.
inline constexpr std::size_t kGemmWorkspaceBytes = std::size_t{32} << 20U;

/// A cuBLASLt algorithm as the library's opaque words. Valid for the library version and GPU that chose it.
using GemmAlgorithm = std::array<std::uint64_t, 8>;
/// By GemmProduct::key().
using GemmAlgorithms = std::map<std::string, GemmAlgorithm>;

/// One product in column-major terms, as cuBLAS has it: C [m, n] (+)= op(A) op(B), k the inner size. A row-major tensor
/// [rows, columns] is a column-major matrix [columns, rows].
struct GemmProduct {
  bool transpose_a, transpose_b;
  std::int64_t m, n, k;
  std::int64_t lda, ldb;  ///< leading dimensions; C's is m
  DType input, output;
  bool accumulate;
  unsigned alignment;  ///< largest power of two, up to 256, that divides all three addresses

  /// "tn 4096x8192x4096 fp16->fp16 beta0 align256"
  std::string key() const;
};

/// A, B and C of a product.
struct GemmMatrices {
  const void *a, *b;
  void* c;
};

/// What an op asks for, and its matrices.
struct GemmCall {
  const char* op;
  GemmProduct product;
  GemmMatrices matrices;
};
GemmCall gemm_call(const LinearForward& args);
GemmCall gemm_call(const LinearBackwardInput& args);
GemmCall gemm_call(const LinearBackwardWeight& args);

/// The products that were sized on an object of make_cuda_sizing_ops, by key; Error for another backend's.
std::vector<GemmProduct> sized_products(const Ops& sizing);

class Gemm {
 public:
  /// `tuned` decides the algorithm of the keys it holds; the others get the heuristic's first candidate whose partial
  /// sums, if any, are added in fp32.
  explicit Gemm(GemmAlgorithms tuned);
  ~Gemm();
  Gemm(const Gemm&) = delete;
  Gemm& operator=(const Gemm&) = delete;

  void run(const GemmCall& call, const Launch& launch);
  /// From now on `tuned` decides.
  void use(GemmAlgorithms tuned);

  /// The algorithm of every product run so far, tuned or not: what a tune table must hold to repeat this run.
  GemmAlgorithms algorithms() const;
  /// What the library's heuristic offers for a product, the best guess first; at most `most`, and 16.
  std::vector<GemmAlgorithm> candidates(const GemmProduct& product, int most);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace llama_zero::cuda
