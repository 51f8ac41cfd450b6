#include "kernels/cuda/attention/attention.h"

#include "kernels/cuda/attention/cudnn.h"
#include "kernels/cuda/attention/flash.h"

namespace llama_zero::cuda {

std::vector<std::unique_ptr<Attention>> attention_implementations(CudaAttention choice) {
  std::vector<std::unique_ptr<Attention>> implementations;
  const bool automatic = choice == CudaAttention::kAuto;
  if (choice == CudaAttention::kCudnn || (automatic && cudnn_status().usable)) {
    implementations.push_back(make_cudnn_attention(automatic));
  }
  if (choice != CudaAttention::kPlain) implementations.push_back(make_flash_attention());
  implementations.push_back(make_plain_attention());
  return implementations;
}

}  // namespace llama_zero::cuda
