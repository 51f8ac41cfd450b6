// NCCL, found when it is wanted: the program starts, and trains on one GPU, where libnccl is missing.
#pragma once

#include <nccl.h>

#include <string>

namespace llama_zero {

/// The functions of libnccl.so.2 that we call; names and types are NCCL's.
struct NcclApi {
  decltype(&ncclGetVersion) GetVersion = nullptr;
  decltype(&ncclGetUniqueId) GetUniqueId = nullptr;
  decltype(&ncclCommInitRankConfig) CommInitRankConfig = nullptr;
  decltype(&ncclCommFinalize) CommFinalize = nullptr;
  decltype(&ncclCommDestroy) CommDestroy = nullptr;
  decltype(&ncclCommAbort) CommAbort = nullptr;
  decltype(&ncclCommGetAsyncError) CommGetAsyncError = nullptr;
  decltype(&ncclGetErrorString) GetErrorString = nullptr;
  decltype(&ncclGetLastError) GetLastError = nullptr;
  decltype(&ncclGroupStart) GroupStart = nullptr;
  decltype(&ncclGroupEnd) GroupEnd = nullptr;
  decltype(&ncclAllGather) AllGather = nullptr;
  decltype(&ncclBroadcast) Broadcast = nullptr;
  decltype(&ncclSend) Send = nullptr;
  decltype(&ncclRecv) Recv = nullptr;
  // For measurements alone: null where the library is too old.
  decltype(&ncclReduceScatter) ReduceScatter = nullptr;
  decltype(&ncclCommRegister) CommRegister = nullptr;
  decltype(&ncclCommDeregister) CommDeregister = nullptr;
  std::string missing;  ///< empty, or why NCCL cannot be used
};

/// Loaded once a process; `missing` says when it could not be.
const NcclApi& nccl_api();

/// What NCCL says of `result` and of its last error, and what helps: one line.
std::string describe_nccl_error(ncclResult_t result, const ncclComm* comm);

}  // namespace llama_zero
