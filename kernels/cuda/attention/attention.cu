#include "kernels/cuda/attention/attention.h"

#include "kernels/cuda/attention/flash.h"

namespace llama_zero::cuda {

std::vector<std::unique_ptr<Attention>> attention_implementations(AttentionPath path) {
  std::vector<std::unique_ptr<Attention>> implementations;
  if (path == AttentionPath::kAuto) implementations.push_back(make_flash_attention());
  implementations.push_back(make_plain_attention());
  return implementations;
}

}  // namespace llama_zero::cuda
