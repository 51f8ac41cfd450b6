// Host-staged collectives on GPU buffers: through page-locked memory, chunk by chunk. No CUDA header is needed.
#pragma once

#include <memory>

#include "core/device.h"
#include "zero/host_staging.h"

namespace llama_zero {

/// For one communicator on `device` (of make_cuda_device), which must outlive it. Locks 4 * chunk_bytes of host memory;
/// throws Error when the system refuses.
std::unique_ptr<HostStaging> make_pinned_staging(Device& device, std::size_t chunk_bytes = std::size_t{8} << 20U);

}  // namespace llama_zero
