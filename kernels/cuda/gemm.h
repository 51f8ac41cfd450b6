// Matrix products by cuBLASLt: fp32 arithmetic (no TF32), plans cached by shape, scratch from the workspace.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "kernels/cuda/launch.h"
#include "kernels/ops.h"

namespace llama_zero::cuda {

/// Scratch that every product may use, whatever its shape: what cuBLAS recommends for Hopper.
inline constexpr std::size_t kGemmWorkspaceBytes = std::size_t{32} << 20U;

/// A cuBLASLt algorithm as the library's opaque words. Valid for the library version and GPU that chose it.
using GemmAlgorithm = std::array<std::uint64_t, 8>;
/// By key: "tn 4096x8192x4096 fp16,fp16->fp16 beta0 align256", column-major m x n x k.
using GemmAlgorithms = std::map<std::string, GemmAlgorithm>;

class Gemm {
 public:
  /// `tuned` decides the algorithm of the keys it holds; the others get the heuristic's first candidate whose partial
  /// sums, if any, are added in fp32.
  explicit Gemm(GemmAlgorithms tuned);
  ~Gemm();
  Gemm(const Gemm&) = delete;
  Gemm& operator=(const Gemm&) = delete;

  void forward(const LinearForward& args, const Launch& launch);
  void backward_input(const LinearBackwardInput& args, const Launch& launch);
  void backward_weight(const LinearBackwardWeight& args, const Launch& launch);

  /// The algorithm of every product run so far, tuned or not: what a tune file must hold to repeat this run.
  GemmAlgorithms algorithms() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace llama_zero::cuda
