// What is chosen by timing, as a table that all ranks share: cuBLASLt's algorithm for each product, on one kind of GPU.
//
// One rank calls tune() or reads the file, the others get the text: TuneTable::parse(broadcast(table.text())). No
// table: the library's first candidate for every product. Attention is chosen by a fixed rule instead (cuda_ops.h); the
// table records which library version the choice stands for.
#pragma once

#include <memory>
#include <string>

#include "core/device.h"
#include "kernels/cuda/cuda_ops.h"

namespace llama_zero {

struct TuneTable {
  std::string gpu;        ///< Device::description()
  std::string libraries;  ///< "cuBLASLt 13.0.0, cuDNN 9.19.0"
  std::string attention;  ///< what `auto` stands for with these libraries: "cudnn" or "flash"
  CudaGemmAlgorithms gemm_algorithms;

  /// JSON; the same bytes for the same table.
  std::string text() const;
  /// Throws Error with one line, naming `source`, for anything that text() does not write.
  static TuneTable parse(const std::string& text, const std::string& source);
  /// Throws Error naming `source` when the table was made on another GPU model or with other library versions.
  void check_made_for(const Device& device, const std::string& source) const;
};

/// Times cuBLASLt's candidates for every product that was sized on `sizing` (of make_cuda_sizing_ops: plan a step with
/// it), each on random data, and keeps the fastest. Takes and frees device memory for the largest product: before the
/// arena is made. A minute at most for a model; prints nothing.
TuneTable tune(Device& device, const Ops& sizing);

}  // namespace llama_zero
