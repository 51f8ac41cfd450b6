// The CUDA device, its pinned host memory, and whether this machine has one at all. No CUDA header is needed to use it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "core/device.h"

namespace llama_zero {

/// Whether make_cuda_device(0) can succeed: a driver that is new enough and a GPU of compute capability 8.0 or later.
/// Otherwise false, and *why_not (when given) says what is missing in a clause: "no NVIDIA driver is loaded".
bool cuda_available(std::string* why_not = nullptr);

/// GPUs that this process sees; 0 when cuda_available() is false.
int cuda_device_count();

/// The GPU `ordinal` (as CUDA_VISIBLE_DEVICES numbers them). Its methods may be called from any thread.
/// Throws Error when there is no usable driver or no such GPU. Every later failure of the GPU is an Error naming the
/// call; after a fault on the GPU ("device lost") every call fails, and only a new process can go on.
///
/// allocate() is cudaMalloc: it synchronises the device. Streams do not wait for the default stream.
std::unique_ptr<Device> make_cuda_device(int ordinal);

/// What a backend must know of a GPU to choose grid sizes and kernels.
struct CudaProperties {
  int ordinal = 0;
  int multiprocessors = 0;
  int compute_capability = 0;           ///< 80, 90, ...
  std::size_t shared_memory_block = 0;  ///< bytes a block may ask for
  std::uint64_t identity = 0;           ///< < 2^48; equal in two processes only when they see the same GPU
};

/// Properties of a device made by make_cuda_device; throws Error for any other.
CudaProperties cuda_properties(const Device& device);

/// Makes the GPU current on the calling thread, as CUDA library calls outside Device need it.
void make_current(const CudaProperties& properties);

/// Page-locked host memory, which the GPU copies from and to at full speed and asynchronously; needs a GPU.
/// Throws Error when the system refuses to lock that much.
std::byte* allocate_pinned(std::size_t bytes);
void free_pinned(std::byte* data) noexcept;

/// The host as a device (DeviceType::kCpu) whose memory is page-locked: an Arena on it holds offloaded state and
/// staging.
std::unique_ptr<Device> make_pinned_cpu_device();

}  // namespace llama_zero
