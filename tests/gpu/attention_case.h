// Attention, forward and backward, of one backend on the GPU against fp64 on the CPU, on the same rounded numbers.
#pragma once

#include "tests/gpu/gpu_test.h"

namespace llama_zero::test {

struct AttentionHeads {
  std::int64_t query, kv, dim;
  std::int64_t qkv_width() const { return (query + 2 * kv) * dim; }
  std::int64_t output_width() const { return query * dim; }
  double scale() const { return 1.0 / std::sqrt(static_cast<double>(dim)); }
};

/// ||actual - expected|| / ||expected||; NaN where either is.
double relative_error(const Tensor& actual, const Tensor& expected);

void poison_rows(Tensor& tensor, std::int64_t width, std::int64_t first_row);

/// The tensors of one forward and backward; outputs start as NaN.
struct AttentionTensors {
  Tensor qkv, grad_output, output, log_sum_exp, grad_qkv;
  AttentionTensors(const AttentionHeads& heads, std::int64_t tokens, DType dtype);
  bool same_results(const AttentionTensors& other) const {
    return output == other.output && log_sum_exp == other.log_sum_exp && grad_qkv == other.grad_qkv;
  }
};

/// Forward and backward by `ops`, whose workspace must be set; bytes around the tensors must not change.
void run_attention(Ops& ops, const AttentionHeads& heads, const DocumentSet& set, AttentionTensors& t);

/// Results are as exact as roundings to storage allow, and two runs give the same bits.
void check_attention(Ops& ops, const AttentionHeads& heads, const DocumentSet& set, DType dtype);

}  // namespace llama_zero::test
