// The launches of flash attention that flash_64.cu, flash_128.cu and flash_256.cu compile: for head_dim up to kWidth.
#pragma once

#include "kernels/cuda/attention/flash_call.cuh"
#include "kernels/cuda/launch.h"

namespace llama_zero::cuda {

/// Whether the GPU has the shared memory that a block needs at this width, forward and backward.
template <int kWidth>
bool flash_fits(const Launch& launch);

/// kWidth is 64, 128 or 256; T is __half or __nv_bfloat16; all tensors are aligned to 16 bytes; `longest` is the length
/// of the longest document, by which tiles are chosen.
template <int kWidth, typename T>
void flash_forward(const FlashCall<T>& call, std::int64_t longest, const Launch& launch);
template <int kWidth, typename T>
void flash_backward(const FlashCall<T>& call, std::int64_t longest, const Launch& launch);

}  // namespace llama_zero::cuda
