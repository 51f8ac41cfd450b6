#include "zero/cuda/nccl_api.h"

#include <dlfcn.h>

#include <algorithm>

#include "core/error.h"

namespace llama_zero {
namespace {

constexpr const char* kLibrary = "libnccl.so.2";

NcclApi load() {
  NcclApi api;
  void* library = ::dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    api.missing = fmt::format("{} is not on this machine's library path", kLibrary);
    return api;
  }
  const auto find_if_there = [&](auto& function, const char* name) {
    function = reinterpret_cast<std::decay_t<decltype(function)>>(::dlsym(library, name));
  };
  const auto find = [&](auto& function, const char* name) {
    find_if_there(function, name);
    if (function == nullptr && api.missing.empty()) api.missing = fmt::format("{} is too old: no {}", kLibrary, name);
  };
  find(api.GetVersion, "ncclGetVersion");
  find(api.GetUniqueId, "ncclGetUniqueId");
  find(api.CommInitRankConfig, "ncclCommInitRankConfig");
  find(api.CommFinalize, "ncclCommFinalize");
  find(api.CommDestroy, "ncclCommDestroy");
  find(api.CommAbort, "ncclCommAbort");
  find(api.CommGetAsyncError, "ncclCommGetAsyncError");
  find(api.GetErrorString, "ncclGetErrorString");
  find(api.GetLastError, "ncclGetLastError");
  find(api.GroupStart, "ncclGroupStart");
  find(api.GroupEnd, "ncclGroupEnd");
  find(api.AllGather, "ncclAllGather");
  find(api.Broadcast, "ncclBroadcast");
  find(api.Send, "ncclSend");
  find(api.Recv, "ncclRecv");
  find_if_there(api.ReduceScatter, "ncclReduceScatter");
  find_if_there(api.CommRegister, "ncclCommRegister");
  find_if_there(api.CommDeregister, "ncclCommDeregister");
  return api;
}

const char* advice(ncclResult_t result) {
  switch (result) {
    case ncclInvalidUsage:
    case ncclInvalidArgument:
      return "two ranks may have been given the same GPU (\"Duplicate GPU detected\"): start no more ranks a host than "
             "it has GPUs, or set llama_zero.communicator to \"mpi\"; NCCL_DEBUG=WARN says more";
    case ncclSystemError:
      return "a system call failed: in a container give it more shared memory (docker --shm-size=1g or --ipc=host), "
             "and name the network interface with NCCL_SOCKET_IFNAME (see `ip link`); NCCL_DEBUG=INFO says which call";
    case ncclRemoteError:
      return "another rank failed or lost its connection: see its message first; NCCL_DEBUG=INFO says more";
    case ncclUnhandledCudaError:
      return "a CUDA call inside NCCL failed: the GPU's memory may be full, or the driver older than NCCL wants; "
             "NCCL_DEBUG=INFO says which call";
    default:
      return "run again with NCCL_DEBUG=INFO; NCCL_SOCKET_IFNAME names the network interface, NCCL_P2P_DISABLE=1 and "
             "NCCL_IB_DISABLE=1 rule out GPU peer access and InfiniBand, llama_zero.communicator \"mpi\" does without "
             "NCCL";
  }
}

}  // namespace

const NcclApi& nccl_api() {
  static const NcclApi api = load();
  return api;
}

std::string describe_nccl_error(ncclResult_t result, const ncclComm* comm) {
  const NcclApi& api = nccl_api();
  std::string last = api.GetLastError(const_cast<ncclComm*>(comm));
  std::ranges::replace(last, '\n', ' ');
  return fmt::format("NCCL: {}{}{}; {}", api.GetErrorString(result), last.empty() ? "" : ": ", last, advice(result));
}

}  // namespace llama_zero
