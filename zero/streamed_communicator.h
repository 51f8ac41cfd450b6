// Collectives beside the computation on a device whose streams are threads (core/worker_device.h), as NCCL's run beside
// it on a GPU; and a slow network, to see what waits for it.
#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include "core/worker_device.h"
#include "zero/communicator.h"

namespace llama_zero {

/// What the network does at a collective, `op` as CommCall has it, before anything moves: called on the thread that
/// runs it, which may wait.
using Network = std::function<void(std::string_view op)>;
/// Each takes so long, whatever its size.
Network slow_network(double milliseconds);

/// Every call runs through `inner`, which works at once (threads, MPI), on a thread of this communicator, in the order
/// of the calls; events order it with the streams that ask. `inner` must outlive it. send, recv and barrier first wait
/// for the calls before them.
std::unique_ptr<Communicator> make_streamed_communicator(Device& worker_device, Communicator& inner,
                                                         Network network = nullptr);

}  // namespace llama_zero
