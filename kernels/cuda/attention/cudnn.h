// Attention through cuDNN's fused kernels.
#pragma once

#include <memory>

#include "kernels/cuda/attention/attention.h"

namespace llama_zero::cuda {

/// fp16 and bf16 storage, head_dim a multiple of 8 up to 128. `automatic`: only calls for which docs/performance.md
/// found cuDNN faster than flash attention, which serves the rest (and all, with a warning, when the library fails to
/// give a kernel); else Error where cuDNN cannot serve. Tensors that are not aligned to 16 bytes are left to flash
/// attention. log_sum_exp is the contract's, so that either may compute the backward of the other's forward.
std::unique_ptr<Attention> make_cudnn_attention(bool automatic);

}  // namespace llama_zero::cuda
