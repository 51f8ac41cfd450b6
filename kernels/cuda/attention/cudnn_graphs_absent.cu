// Stands for cudnn_graphs.cu where the build has no cuDNN frontend headers.
#include "kernels/cuda/attention/cudnn_graphs.h"

namespace llama_zero {

CudnnStatus cudnn_status() { return {false, "built without the cuDNN frontend headers"}; }

std::unique_ptr<cuda::CudnnGraphs> cuda::make_cudnn_graphs() { fail("cuDNN: {}", cudnn_status().text); }

}  // namespace llama_zero
