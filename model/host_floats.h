// Device tensors as fp32 values on the host.
#pragma once

#include <vector>

#include "core/device.h"
#include "core/view.h"

namespace llama_zero {

/// The elements of a floating view, widened (fp64: narrowed) to fp32. Waits for the copy.
std::vector<float> copy_to_host_floats(ConstView values, Device& device, Stream& stream);

}  // namespace llama_zero
