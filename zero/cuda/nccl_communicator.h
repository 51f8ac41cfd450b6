// Ranks with a GPU each: collectives by NCCL, on a stream of the communicator's own. No CUDA or NCCL header is needed.
#pragma once

#include <memory>
#include <string>

#include "zero/communicator.h"

namespace llama_zero {

/// Empty when NCCL can be used, else a clause: "this program was built without NCCL".
std::string why_no_nccl();

/// Collective over the ranks of `bootstrap`, a communicator on host memory that carries NCCL's id and the barriers.
/// `device` (of make_cuda_device, one GPU a rank) must outlive the communicator. Throws Error, with what helps, when
/// NCCL cannot start within `timeout_seconds`.
///
/// The collectives of the communicator run in the order they were called, whatever streams they were given. A thread
/// watches them: an error of NCCL, or a collective that the GPU does not finish within `timeout_seconds`, aborts NCCL,
/// so that no stream hangs, and the next call of the communicator throws Error with rank, step and collective.
std::unique_ptr<Communicator> make_nccl_communicator(std::unique_ptr<Communicator> bootstrap, Device& device,
                                                     double timeout_seconds);

}  // namespace llama_zero
