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
/// watches them: an error of NCCL, or a collective that the GPU has begun and does not finish within `timeout_seconds`,
/// aborts NCCL, so that no stream hangs, and the next call of the communicator throws Error with rank, step and
/// collective. One communicator for each group of ranks; where a rank is in several (mesh axes), all its ranks must
/// call their collectives in one order, since a collective holds multiprocessors while it waits.
std::unique_ptr<Communicator> make_nccl_communicator(std::unique_ptr<Communicator> bootstrap, Device& device,
                                                     double timeout_seconds);

// For measurements; both throw Error when `communicator` is not NCCL.

/// NCCL's own ncclReduceScatter with ncclSum: recv = the sum over ranks of piece `rank` of send, in an order, with
/// roundings, of NCCL's choice. The product adds with reduce_pieces instead.
void nccl_reduce_scatter(Communicator& communicator, ConstView send, View recv, Stream& stream);
/// Collective: registers a whole allocation with NCCL (ncclCommRegister), so that GPUs that reach one another's memory
/// may exchange without copies through NCCL's buffers. It must outlive the communicator.
void nccl_register(Communicator& communicator, View memory);

}  // namespace llama_zero
