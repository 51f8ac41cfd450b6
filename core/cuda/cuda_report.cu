#include "core/cuda/cuda_report.h"

#include <cublasLt.h>
#include <cuda_runtime.h>
#include <dlfcn.h>

#include <array>

#include "core/cuda/cuda_check.h"
#include "core/cuda/cuda_device.h"

#if __has_include(<nccl.h>)
#include <nccl.h>
#endif
#if __has_include(<cudnn_version.h>)
#include <cudnn_version.h>
#endif

namespace llama_zero {
namespace {

/// A shared library that this program can do without.
class OptionalLibrary {
 public:
  explicit OptionalLibrary(const char* name) : handle_(dlopen(name, RTLD_LAZY | RTLD_LOCAL)) {}
  ~OptionalLibrary() {
    if (handle_ != nullptr) dlclose(handle_);
  }
  OptionalLibrary(const OptionalLibrary&) = delete;
  OptionalLibrary& operator=(const OptionalLibrary&) = delete;

  /// The function, or null when library or function is missing.
  template <typename Function>
  Function* find(const char* name) const {
    return handle_ == nullptr ? nullptr : reinterpret_cast<Function*>(dlsym(handle_, name));
  }

 private:
  void* handle_;
};

/// The driver's management library (NVML): what the CUDA runtime does not tell, and memory without a context. Functions
/// and types are those of its documentation; all return 0 for success.
class Management {
 public:
  using Handle = void*;

  Management() : library_("libnvidia-ml.so.1") {
    auto* init = library_.find<int()>("nvmlInit_v2");
    usable_ = init != nullptr && init() == 0;
  }
  ~Management() {
    auto* shutdown = library_.find<int()>("nvmlShutdown");
    if (usable_ && shutdown != nullptr) shutdown();
  }
  Management(const Management&) = delete;
  Management& operator=(const Management&) = delete;

  std::string driver_version() const {
    std::array<char, 96> text{};
    auto* get = find<int(char*, unsigned)>("nvmlSystemGetDriverVersion");
    return get != nullptr && get(text.data(), static_cast<unsigned>(text.size())) == 0 ? text.data() : "";
  }

  Handle device(const std::string& pci_bus) const {
    Handle handle = nullptr;
    auto* get = find<int(const char*, Handle*)>("nvmlDeviceGetHandleByPciBusId_v2");
    return get != nullptr && get(pci_bus.c_str(), &handle) == 0 ? handle : nullptr;
  }

  std::size_t free_bytes(Handle device) const {
    struct Memory {
      unsigned long long total, free, used;
    } memory{};
    auto* get = find<int(Handle, Memory*)>("nvmlDeviceGetMemoryInfo");
    return device != nullptr && get != nullptr && get(device, &memory) == 0 ? memory.free : 0;
  }

  int active_nvlinks(Handle device) const {
    constexpr unsigned kMostLinks = 18;
    auto* get = find<int(Handle, unsigned, unsigned*)>("nvmlDeviceGetNvLinkState");
    if (device == nullptr || get == nullptr) return -1;
    int active = 0;
    for (unsigned link = 0; link < kMostLinks; ++link) {
      unsigned state = 0;
      if (get(device, link, &state) == 0 && state == 1) ++active;
    }
    return active;
  }

  bool joined_by_nvlink(Handle a, Handle b) const {
    constexpr int kNvlinkCapability = 2;  // NVML_P2P_CAPS_INDEX_NVLINK
    int status = -1;
    auto* get = find<int(Handle, Handle, int, int*)>("nvmlDeviceGetP2PStatus");
    return a != nullptr && b != nullptr && get != nullptr && get(a, b, kNvlinkCapability, &status) == 0 && status == 0;
  }

 private:
  template <typename Function>
  Function* find(const char* name) const {
    return usable_ ? library_.find<Function>(name) : nullptr;
  }

  OptionalLibrary library_;
  bool usable_ = false;
};

GpuFacts facts_of(int ordinal, const Management& management) {
  cudaDeviceProp properties{};
  LLAMA_ZERO_CUDA(cudaGetDeviceProperties(&properties, ordinal));
  std::array<char, 32> bus{};
  LLAMA_ZERO_CUDA(cudaDeviceGetPCIBusId(bus.data(), static_cast<int>(bus.size()), ordinal));
  GpuFacts facts;
  facts.ordinal = ordinal;
  facts.name = properties.name;
  facts.pci_bus = bus.data();
  facts.compute_capability = properties.major * 10 + properties.minor;
  facts.multiprocessors = properties.multiProcessorCount;
  facts.memory_bytes = properties.totalGlobalMem;
  facts.ecc = properties.ECCEnabled != 0;
  const Management::Handle device = management.device(facts.pci_bus);
  facts.free_bytes = management.free_bytes(device);
  facts.nvlinks = management.active_nvlinks(device);
  return facts;
}

PeerPath path(const GpuFacts& from, const GpuFacts& to, const Management& management) {
  if (from.ordinal == to.ordinal) return PeerPath::kSelf;
  int possible = 0;
  LLAMA_ZERO_CUDA(cudaDeviceCanAccessPeer(&possible, from.ordinal, to.ordinal));
  if (possible == 0) return PeerPath::kNone;
  const bool nvlink = management.joined_by_nvlink(management.device(from.pci_bus), management.device(to.pci_bus));
  return nvlink ? PeerPath::kNvlink : PeerPath::kPcie;
}

void fill_gpus(GpuReport& report, const Management& management) {
  const int count = cuda_device_count();
  for (int ordinal = 0; ordinal < count; ++ordinal) report.gpus.push_back(facts_of(ordinal, management));
  for (const GpuFacts& from : report.gpus) {
    auto& row = report.peers.emplace_back();
    for (const GpuFacts& to : report.gpus) row.push_back(path(from, to, management));
  }
}

/// NCCL and cuDNN write 10000 * major + 100 * minor + patch; cuDNN before 9 wrote 1000 * major.
std::string dotted(std::size_t version) {
  return fmt::format("{}.{}.{}", version / 10000, version % 10000 / 100, version % 100);
}

std::string cuda_version(int version) { return fmt::format("{}.{}", version / 1000, version % 1000 / 10); }

std::string running_nccl() {
  const OptionalLibrary library("libnccl.so.2");
  auto* get = library.find<int(int*)>("ncclGetVersion");
  int version = 0;
  return get != nullptr && get(&version) == 0 ? dotted(static_cast<std::size_t>(version)) : "";
}

std::string running_cudnn() {
  const OptionalLibrary library("libcudnn.so.9");
  auto* get = library.find<std::size_t()>("cudnnGetVersion");
  return get != nullptr ? dotted(get()) : "";
}

CudaLibrary nccl() {
  CudaLibrary library{"NCCL", "", running_nccl()};
#ifdef NCCL_VERSION_CODE
  library.compiled = dotted(NCCL_VERSION_CODE);
#endif
  return library;
}

CudaLibrary cudnn() {
  CudaLibrary library{"cuDNN", "", running_cudnn()};
#ifdef CUDNN_VERSION
  library.compiled = dotted(CUDNN_VERSION);
#endif
  return library;
}

CudaLibrary cublaslt() {
  return {"cuBLASLt", fmt::format("{}.{}.{}", CUBLAS_VER_MAJOR, CUBLAS_VER_MINOR, CUBLAS_VER_PATCH),
          dotted(cublasLtGetVersion())};
}

}  // namespace

GpuReport query_gpus() {
  GpuReport report;
  if (!cuda_available(&report.why_none)) return report;
  try {
    const Management management;
    report.driver = management.driver_version();
    cudaDriverGetVersion(&report.driver_cuda);
    fill_gpus(report, management);
  } catch (const Error& error) {
    report.gpus.clear();
    report.peers.clear();
    report.why_none = error.what();
  }
  return report;
}

std::vector<CudaLibrary> query_cuda_libraries() {
  int runtime = 0;
  cudaRuntimeGetVersion(&runtime);
  return {{"CUDA runtime", cuda_version(CUDART_VERSION), cuda_version(runtime)}, cublaslt(), cudnn(), nccl()};
}

}  // namespace llama_zero
