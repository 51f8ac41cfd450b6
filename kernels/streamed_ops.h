// Ops for a device whose streams are threads (core/worker_device.h).
#pragma once

#include <memory>

#include "kernels/ops.h"

namespace llama_zero {

/// Every op is run by `inner`, an implementation that works at once, on the thread of the stream it is given to.
/// Streams share the workspace: only one of them may run ops that need one. `inner` must outlive the streams' work.
std::unique_ptr<Ops> make_streamed_ops(Ops& inner);

}  // namespace llama_zero
