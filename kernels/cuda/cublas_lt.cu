#include "kernels/cuda/cublas_lt.h"

#include <cublasLt.h>
#include <dlfcn.h>

#include "core/error.h"

namespace llama_zero {
namespace {

constexpr int kMajor = CUBLAS_VERSION / 10000;

struct Library {
  std::string name = fmt::format("libcublasLt.so.{}", kMajor);
  void* handle = ::dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
};

const Library& library() {
  static const Library opened;
  return opened;
}

/// The library's own function of that name; throws Error when there is none.
template <typename Function>
Function* find(const char* name) {
  const std::string missing = why_no_cublas_lt();
  require(missing.empty(), "CUDA: {}", missing);
  auto* function = reinterpret_cast<Function*>(::dlsym(library().handle, name));
  require(function != nullptr, "CUDA: {} has no {}", library().name, name);
  return function;
}

}  // namespace

std::string why_no_cublas_lt() {
  if (library().handle != nullptr) return "";
  return fmt::format(
      "{} is not among the system's libraries (install CUDA {}'s, or name their folder in LD_LIBRARY_PATH)",
      library().name, kMajor);
}

}  // namespace llama_zero

// The library's names, forwarded: one line each, with the header's own types.
#define LLAMA_ZERO_FORWARD(name, ...)                                      \
  static auto* const function = ::llama_zero::find<decltype(name)>(#name); \
  return function(__VA_ARGS__)

extern "C" {

cublasStatus_t CUBLASWINAPI cublasLtCreate(cublasLtHandle_t* handle) { LLAMA_ZERO_FORWARD(cublasLtCreate, handle); }

cublasStatus_t CUBLASWINAPI cublasLtDestroy(cublasLtHandle_t handle) { LLAMA_ZERO_FORWARD(cublasLtDestroy, handle); }

const char* CUBLASWINAPI cublasLtGetStatusString(cublasStatus_t status) {
  LLAMA_ZERO_FORWARD(cublasLtGetStatusString, status);
}

/// 0 without the library: a report of versions must not fail.
size_t CUBLASWINAPI cublasLtGetVersion(void) {
  if (::llama_zero::library().handle == nullptr) return 0;
  LLAMA_ZERO_FORWARD(cublasLtGetVersion, );
}

cublasStatus_t CUBLASWINAPI cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t operation, const void* alpha,
                                           const void* a, cublasLtMatrixLayout_t a_layout, const void* b,
                                           cublasLtMatrixLayout_t b_layout, const void* beta, const void* c,
                                           cublasLtMatrixLayout_t c_layout, void* d, cublasLtMatrixLayout_t d_layout,
                                           const cublasLtMatmulAlgo_t* algorithm, void* workspace, size_t bytes,
                                           cudaStream_t stream) {
  LLAMA_ZERO_FORWARD(cublasLtMatmul, handle, operation, alpha, a, a_layout, b, b_layout, beta, c, c_layout, d, d_layout,
                     algorithm, workspace, bytes, stream);
}

cublasStatus_t CUBLASWINAPI cublasLtMatmulAlgoCheck(cublasLtHandle_t handle, cublasLtMatmulDesc_t operation,
                                                    cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                                    cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                                    const cublasLtMatmulAlgo_t* algorithm,
                                                    cublasLtMatmulHeuristicResult_t* result) {
  LLAMA_ZERO_FORWARD(cublasLtMatmulAlgoCheck, handle, operation, a, b, c, d, algorithm, result);
}

cublasStatus_t CUBLASWINAPI cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t operation,
                                                           cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                                           cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                                           cublasLtMatmulPreference_t preference, int wanted,
                                                           cublasLtMatmulHeuristicResult_t results[], int* found) {
  LLAMA_ZERO_FORWARD(cublasLtMatmulAlgoGetHeuristic, handle, operation, a, b, c, d, preference, wanted, results, found);
}

cublasStatus_t CUBLASWINAPI cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* operation, cublasComputeType_t compute,
                                                     cudaDataType_t scale) {
  LLAMA_ZERO_FORWARD(cublasLtMatmulDescCreate, operation, compute, scale);
}

cublasStatus_t CUBLASWINAPI cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t operation) {
  LLAMA_ZERO_FORWARD(cublasLtMatmulDescDestroy, operation);
}

cublasStatus_t CUBLASWINAPI cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t operation,
                                                           cublasLtMatmulDescAttributes_t attribute, const void* value,
                                                           size_t bytes) {
  LLAMA_ZERO_FORWARD(cublasLtMatmulDescSetAttribute, operation, attribute, value, bytes);
}

cublasStatus_t CUBLASWINAPI cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  LLAMA_ZERO_FORWARD(cublasLtMatmulPreferenceCreate, preference);
}

cublasStatus_t CUBLASWINAPI cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  LLAMA_ZERO_FORWARD(cublasLtMatmulPreferenceDestroy, preference);
}

cublasStatus_t CUBLASWINAPI cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                                 cublasLtMatmulPreferenceAttributes_t attribute,
                                                                 const void* value, size_t bytes) {
  LLAMA_ZERO_FORWARD(cublasLtMatmulPreferenceSetAttribute, preference, attribute, value, bytes);
}

cublasStatus_t CUBLASWINAPI cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType type, uint64_t rows,
                                                       uint64_t columns, int64_t stride) {
  LLAMA_ZERO_FORWARD(cublasLtMatrixLayoutCreate, layout, type, rows, columns, stride);
}

cublasStatus_t CUBLASWINAPI cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  LLAMA_ZERO_FORWARD(cublasLtMatrixLayoutDestroy, layout);
}

}  // extern "C"
