#include "kernels/cuda/attention/attention.h"

namespace llama_zero::cuda {

std::vector<std::unique_ptr<Attention>> attention_implementations(AttentionPath) {
  std::vector<std::unique_ptr<Attention>> implementations;
  implementations.push_back(make_plain_attention());
  return implementations;
}

}  // namespace llama_zero::cuda
