// Flash attention with tensor cores.
#pragma once

#include <memory>

#include "kernels/cuda/attention/attention.h"

namespace llama_zero::cuda {

/// fp16 and bf16 storage, any head_dim up to 256 (a multiple of 8); products of 16-bit numbers summed in fp32. The
/// scale must be positive. Tensors that are not aligned to 16 bytes are left to the plain kernels.
std::unique_ptr<Attention> make_flash_attention();

}  // namespace llama_zero::cuda
