// CUDA errors as Error. For files that see the CUDA runtime.
#pragma once

#include <cuda_runtime_api.h>

#include <string>

#include "core/error.h"

namespace llama_zero {

/// One line for the user: the call, CUDA's own words and, for the errors that have one, what to do. Also clears the
/// runtime's last error, which otherwise a later, innocent launch check would report; a lost device stays lost.
std::string describe_cuda_error(cudaError_t error, const char* call);

/// Throws Error(describe_cuda_error) unless `error` is cudaSuccess.
inline void check_cuda(cudaError_t error, const char* call) {
  if (error != cudaSuccess) throw Error(describe_cuda_error(error, call));
}

/// `op` (a literal) has been given to the GPU by this thread. Faults are found later, by whoever waits: the message then
/// names the last op given.
void note_launch(const char* op) noexcept;

/// For destructors: logs instead of throwing.
void log_cuda_error(cudaError_t error, const char* call) noexcept;

}  // namespace llama_zero

/// Evaluates a CUDA runtime call and throws Error, naming the call, when it fails.
#define LLAMA_ZERO_CUDA(call) ::llama_zero::check_cuda((call), #call)
