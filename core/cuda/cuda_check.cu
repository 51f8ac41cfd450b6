#include "core/cuda/cuda_check.h"

#include "core/log.h"

namespace llama_zero {
namespace {

/// Errors that end the context: every later call of the process fails with them.
bool is_device_lost(cudaError_t error) {
  switch (error) {
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchFailure:
    case cudaErrorLaunchTimeout:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorAssert:
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorContextIsDestroyed:
    case cudaErrorUnknown:
      return true;
    default:
      return false;
  }
}

thread_local const char* last_launch = nullptr;

std::string after_which_op(cudaError_t error) {
  if (last_launch == nullptr || !is_device_lost(error)) return "";
  return fmt::format("; the last op given was {} (with CUDA_LAUNCH_BLOCKING=1 it is the one that failed)", last_launch);
}

const char* advice(cudaError_t error) {
  switch (error) {
    case cudaErrorNoDevice:
      return "; no GPU is visible to this process (see nvidia-smi and CUDA_VISIBLE_DEVICES)";
    case cudaErrorInsufficientDriver:
    case cudaErrorSystemDriverMismatch:
    case cudaErrorCompatNotSupportedOnDevice:
      return "; the NVIDIA driver is missing or older than the CUDA version of this program: update the driver";
    case cudaErrorMemoryAllocation:
      return "; the GPU's memory is exhausted: see --plan, and nvidia-smi for other processes on the GPU";
    case cudaErrorNoKernelImageForDevice:
      return "; this program was not built for this GPU's architecture";
    case cudaErrorDevicesUnavailable:
      return "; another process holds the GPU exclusively";
    default:
      break;
  }
  return is_device_lost(error) ? "; the GPU is lost to this process, start again from the last checkpoint" : "";
}

}  // namespace

std::string describe_cuda_error(cudaError_t error, const char* call) {
  cudaGetLastError();
  return fmt::format("CUDA: {}: {} ({}){}{}", call, cudaGetErrorString(error), cudaGetErrorName(error), advice(error),
                     after_which_op(error));
}

void note_launch(const char* op) noexcept { last_launch = op; }

void log_cuda_error(cudaError_t error, const char* call) noexcept {
  // At exit the runtime may be gone before the last object; nothing is lost then.
  if (error == cudaSuccess || error == cudaErrorCudartUnloading) return;
  try {
    log::error("{}", describe_cuda_error(error, call));
  } catch (...) {
    return;
  }
}

}  // namespace llama_zero
