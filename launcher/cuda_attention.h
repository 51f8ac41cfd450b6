// The config's choice of attention as the CUDA backend's; only in builds with CUDA.
#pragma once

#include "kernels/cuda/cuda_ops.h"
#include "launcher/config.h"

namespace llama_zero {

inline CudaAttention cuda_attention_of(AttentionChoice choice) {
  switch (choice) {
    case AttentionChoice::kFlash:
      return CudaAttention::kFlash;
    case AttentionChoice::kCudnn:
      return CudaAttention::kCudnn;
    case AttentionChoice::kAuto:
      break;
  }
  return CudaAttention::kAuto;
}

}  // namespace llama_zero
