// What a machine gives to ZeRO-Offload: how much host memory can be page-locked and how fast, the host's copy
// bandwidth, the rates of copies from and to the GPU, and how both suffer while the CPU updates weights.
//
//   host_probe [GIB [SECONDS]]     GIB: memory to try to lock; default: 110, or 90 % of MemAvailable where that is less
//                                  SECONDS: after which to lock no more; default: 40
//
// Every line is printed as soon as it is known, for the case that the system ends the program for its use of memory.
#include <cuda_runtime_api.h>
#include <fmt/format.h>
#include <omp.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "core/error.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace {

using namespace llama_zero;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kGiB = std::size_t{1} << 30U;
constexpr std::size_t kBlock = 4 * kGiB;                // of memory that is locked at a time
constexpr std::size_t kChunk = std::size_t{64} << 20U;  // of a copy
constexpr std::size_t kPage = 4096;
constexpr double kSampleSeconds = 1.0;

/// The CUDA backend has its own, but this program is built without it.
void check(cudaError_t error) {
  if (error != cudaSuccess) fail("CUDA: {}", cudaGetErrorString(error));
}

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

double memory_available_gib() {
  std::ifstream file("/proc/meminfo");
  for (std::string key, unit, line; file >> key && std::getline(file, line);) {
    if (key == "MemAvailable:") return std::strtod(line.c_str(), nullptr) / (1024.0 * 1024.0);
  }
  return 0.0;
}

void touch(std::byte* data, std::size_t bytes) {
  const auto pages = static_cast<std::int64_t>(bytes / kPage);
#pragma omp parallel for schedule(static)
  for (std::int64_t page = 0; page < pages; ++page) data[static_cast<std::size_t>(page) * kPage] = std::byte{0};
}

/// A way to get page-locked memory.
struct Way {
  const char* name;
  bool driver = false;    ///< cudaHostAlloc; else mmap, then cudaHostRegister
  bool populate = false;  ///< the kernel touches the pages, else all threads do
  bool huge = false;
};
constexpr std::array<Way, 4> kWays = {
    Way{"cudaHostAlloc", true, false, false}, Way{"mmap, threads touch, register", false, false, false},
    Way{"the same with huge pages", false, false, true}, Way{"MAP_POPULATE, register", false, true, false}};

struct Block {
  std::byte* data;
  std::size_t bytes;
  bool driver;
};

/// Nothing when the system refuses.
std::optional<Block> lock(const Way& way, std::size_t bytes) {
  void* data = nullptr;
  if (way.driver) {
    if (cudaHostAlloc(&data, bytes, cudaHostAllocPortable) == cudaSuccess) {
      return Block{static_cast<std::byte*>(data), bytes, true};
    }
    cudaGetLastError();
    return std::nullopt;
  }
  const int flags = MAP_PRIVATE | MAP_ANONYMOUS | (way.populate ? MAP_POPULATE : 0);
  data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
  if (data == MAP_FAILED) return std::nullopt;
  if (way.huge) madvise(data, bytes, MADV_HUGEPAGE);
  if (!way.populate) touch(static_cast<std::byte*>(data), bytes);
  if (cudaHostRegister(data, bytes, cudaHostRegisterPortable) == cudaSuccess) {
    return Block{static_cast<std::byte*>(data), bytes, false};
  }
  cudaGetLastError();
  munmap(data, bytes);
  return std::nullopt;
}

void unlock(const Block& block) {
  if (block.driver) {
    check(cudaFreeHost(block.data));
    return;
  }
  check(cudaHostUnregister(block.data));
  munmap(block.data, block.bytes);
}

/// Locks blocks, the ways taking turns, until `limit` bytes, `longest` seconds or a refusal. Memory that the machine
/// gives for the first time may cost more than memory that it gives again, so every way gets some of both.
void print_lockable(std::size_t limit, double longest, const char* state) {
  std::vector<Block> blocks;
  std::array<std::vector<double>, kWays.size()> seconds;
  const auto start = Clock::now();
  bool refused = false;
  fmt::print("{}, GiB locked:", state);
  for (std::size_t i = 0; (i + 1) * kBlock <= limit && seconds_since(start) < longest; ++i) {
    const auto before = Clock::now();
    const auto block = lock(kWays[i % kWays.size()], kBlock);
    refused = !block.has_value();
    if (refused) break;
    blocks.push_back(*block);
    seconds[i % kWays.size()].push_back(seconds_since(before));
    fmt::print(" {}", blocks.size() * kBlock / kGiB);
    std::fflush(stdout);
  }
  fmt::print("\n  {} GiB in {:.1f} s, {}\n", blocks.size() * kBlock / kGiB, seconds_since(start),
             refused                          ? "then refused"
             : seconds_since(start) < longest ? "as far as asked"
                                              : "then the time was over");
  for (std::size_t way = 0; way < kWays.size(); ++way) {
    if (seconds[way].empty()) continue;
    double sum = 0.0;
    for (const double s : seconds[way]) sum += s;
    const double per_gib = sum / static_cast<double>(seconds[way].size() * kBlock / kGiB);
    fmt::print("  {:<31} {:6.3f} s/GiB ({:5.1f} s for 100 GiB), slowest block {:6.3f} s/GiB\n", kWays[way].name,
               per_gib, 100.0 * per_gib,
               *std::max_element(seconds[way].begin(), seconds[way].end()) / static_cast<double>(kBlock / kGiB));
  }
  const auto before = Clock::now();
  for (const Block& block : blocks) unlock(block);
  fmt::print("  given back in {:.1f} s\n", seconds_since(before));
  std::fflush(stdout);
}

/// GB/s, read and written bytes counted, of `threads` threads that copy.
double copy_rate(std::byte* to, const std::byte* from, std::size_t bytes, int threads, bool streaming) {
  const auto tiles = static_cast<std::int64_t>(bytes / kPage);
  const auto start = Clock::now();
  double copied = 0.0;
  while (seconds_since(start) < kSampleSeconds) {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (std::int64_t tile = 0; tile < tiles; ++tile) {
      const std::size_t offset = static_cast<std::size_t>(tile) * kPage;
#if defined(__AVX2__)
      if (streaming) {
        for (std::size_t i = offset; i < offset + kPage; i += sizeof(__m256i)) {
          _mm256_stream_si256(reinterpret_cast<__m256i*>(to + i),
                              _mm256_load_si256(reinterpret_cast<const __m256i*>(from + i)));
        }
        continue;
      }
      for (std::size_t i = offset; i < offset + kPage; i += sizeof(__m256i)) {
        _mm256_store_si256(reinterpret_cast<__m256i*>(to + i),
                           _mm256_load_si256(reinterpret_cast<const __m256i*>(from + i)));
      }
#else
      static_cast<void>(streaming);
      std::memcpy(to + offset, from + offset, kPage);
#endif
    }
    copied += 2.0 * static_cast<double>(bytes);
  }
  return copied / seconds_since(start) * 1e-9;
}

/// What AdamW reads and writes, 28 bytes an element: fp32 master, m, v; bf16 gradient in and weight out.
struct Adam {
  static constexpr std::size_t kBytes = 28;
  std::int64_t elements;
  float *master, *m, *v;
  const std::uint16_t* gradient;
  std::uint16_t* weight;
};

void adam_tile(const Adam& a, std::int64_t begin, std::int64_t end) {
#pragma omp simd
  for (std::int64_t i = begin; i < end; ++i) {
    const float g = std::bit_cast<float>(static_cast<std::uint32_t>(a.gradient[i]) << 16U);
    a.m[i] = std::fma(0.9F, a.m[i], 0.1F * g);
    a.v[i] = std::fma(0.999F, a.v[i], 0.001F * (g * g));
    const float direction = (a.m[i] / 0.5F) / (std::sqrt(a.v[i]) / 0.25F + 1e-8F);
    a.master[i] = std::fma(-1e-4F, std::fma(0.01F, a.master[i], direction), a.master[i]);
    a.weight[i] = static_cast<std::uint16_t>((std::bit_cast<std::uint32_t>(a.master[i]) + 0x8000U) >> 16U);
  }
}

/// GB/s of updates by `threads` threads over at least `duration` seconds.
double adam_rate(const Adam& a, int threads, double duration = kSampleSeconds) {
  constexpr std::int64_t kTile = 16384;
  const std::int64_t tiles = a.elements / kTile;
  const auto start = Clock::now();
  double bytes = 0.0;
  while (seconds_since(start) < duration) {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (std::int64_t tile = 0; tile < tiles; ++tile) adam_tile(a, tile * kTile, (tile + 1) * kTile);
    bytes += static_cast<double>(tiles * kTile) * Adam::kBytes;
  }
  return bytes / seconds_since(start) * 1e-9;
}

/// Copies between host and GPU by a thread of their own, until stop() gives their GB/s.
class Copies {
 public:
  Copies(std::byte* host, std::byte* gpu, std::size_t bytes, cudaMemcpyKind kind)
      : start_(Clock::now()), thread_([this, host, gpu, bytes, kind] { run(host, gpu, bytes, kind); }) {}
  double stop() {
    stopping_ = true;
    thread_.join();
    return copied_ / seconds_ * 1e-9;
  }

 private:
  void run(std::byte* host, std::byte* gpu, std::size_t bytes, cudaMemcpyKind kind) {
    cudaStream_t stream = nullptr;
    check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    while (!stopping_) {
      for (std::size_t at = 0; at + kChunk <= bytes; at += kChunk) {
        const bool down = kind == cudaMemcpyDeviceToHost;
        check(cudaMemcpyAsync((down ? host : gpu) + at, (down ? gpu : host) + at, kChunk, kind, stream));
      }
      check(cudaStreamSynchronize(stream));
      copied_ += static_cast<double>(bytes);
    }
    seconds_ = seconds_since(start_);
    check(cudaStreamDestroy(stream));
  }

  Clock::time_point start_;
  double copied_ = 0.0, seconds_ = 1.0;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

/// One line: copies up, down or both, alone or while the CPU updates weights.
void print_copies(const char* name, std::byte* host, std::byte* gpu, std::size_t half, bool up, bool down,
                  const Adam* adam, int threads) {
  std::optional<Copies> to_gpu, from_gpu;
  if (up) to_gpu.emplace(host, gpu, half, cudaMemcpyHostToDevice);
  if (down) from_gpu.emplace(host + half, gpu + half, half, cudaMemcpyDeviceToHost);
  double updates = 0.0;
  if (adam != nullptr) {
    updates = adam_rate(*adam, threads, 2.0 * kSampleSeconds);
  } else {
    std::this_thread::sleep_for(std::chrono::duration<double>(kSampleSeconds));
  }
  fmt::print("{:<38} {:>7.1f} {:>7.1f} {:>9.1f}\n", name, up ? to_gpu->stop() : 0.0, down ? from_gpu->stop() : 0.0,
             updates);
  std::fflush(stdout);
}

void print_rates() {
  constexpr std::size_t kBuffer = 2 * kGiB;
  constexpr std::size_t kHalf = kBuffer / 2;
  const int cores = omp_get_max_threads();
  const auto copies = lock(kWays[2], kBuffer);
  const auto states = lock(kWays[2], 7 * kGiB);
  if (!copies || !states) fail("9 GiB of host memory cannot be locked");
  std::memset(copies->data, 1, copies->bytes);
  void* gpu = nullptr;
  check(cudaMalloc(&gpu, kBuffer));
  auto* const device = static_cast<std::byte*>(gpu);

  fmt::print("host copy, read + write, GB/s           ordinary  streaming stores\n");
  for (int threads = cores; threads >= std::max(1, cores / 4); threads /= 2) {
    const double ordinary = copy_rate(states->data, states->data + 3 * kGiB, 3 * kGiB, threads, false);
    const double streaming = copy_rate(states->data, states->data + 3 * kGiB, 3 * kGiB, threads, true);
    fmt::print("  {:>2} threads                            {:8.1f} {:9.1f}\n", threads, ordinary, streaming);
  }
  std::fflush(stdout);

  // Arrays a power of two apart meet in the same memory banks and run at little more than half the rate.
  const std::int64_t n = static_cast<std::int64_t>(states->bytes / Adam::kBytes) / 16384 * 16384 - 37 * 16384;
  auto* const floats = reinterpret_cast<float*>(states->data);
  auto* const halves = reinterpret_cast<std::uint16_t*>(floats + 3 * n);
  std::memset(states->data, 0, states->bytes);
  const Adam adam{n, floats, floats + n, floats + 2 * n, halves, halves + n};
  fmt::print("GB/s                                   to GPU  to host  CPU Adam (28 bytes an element)\n");
  for (int threads = cores; threads >= std::max(1, cores / 4); threads /= 2) {
    fmt::print("{:<38} {:>7.1f} {:>7.1f} {:>9.1f}\n", fmt::format("CPU Adam alone, {} threads", threads), 0.0, 0.0,
               adam_rate(adam, threads));
  }
  print_copies("locked memory, up", copies->data, device, kHalf, true, false, nullptr, cores);
  print_copies("locked memory, down", copies->data, device, kHalf, false, true, nullptr, cores);
  print_copies("locked memory, both", copies->data, device, kHalf, true, true, nullptr, cores);
  print_copies("locked, both, Adam on all cores", copies->data, device, kHalf, true, true, &adam, cores);
  print_copies("locked, up, Adam on all cores", copies->data, device, kHalf, true, false, &adam, cores);
  print_copies("locked, both, Adam on all but 2 cores", copies->data, device, kHalf, true, true, &adam,
               std::max(1, cores - 2));
  std::vector<std::byte> pageable(kBuffer);
  print_copies("pageable memory, up", pageable.data(), device, kHalf, true, false, nullptr, cores);
  print_copies("pageable memory, down", pageable.data(), device, kHalf, false, true, nullptr, cores);
  print_copies("pageable memory, both", pageable.data(), device, kHalf, true, true, nullptr, cores);
  check(cudaFree(gpu));
  unlock(*copies);
  unlock(*states);
}

void run(double gib, double longest) {
  check(cudaInitDevice(0, cudaDeviceScheduleBlockingSync, cudaInitDeviceFlagsAreValid));
  check(cudaSetDevice(0));
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, 0));
  fmt::print("{}; {} CPU threads; {:.1f} GiB of host memory available\n", properties.name, omp_get_max_threads(),
             memory_available_gib());
  print_rates();
  const auto limit = static_cast<std::size_t>(gib * static_cast<double>(kGiB));
  print_lockable(limit, longest, "first time");
  print_lockable(std::min(limit, 2 * kWays.size() * kBlock), longest, "again");
  fmt::print("{:.1f} GiB of host memory available\n", memory_available_gib());
}

}  // namespace

int main(int argc, char** argv) {
  try {
    run(argc > 1 ? std::strtod(argv[1], nullptr) : std::min(110.0, 0.9 * memory_available_gib()),
        argc > 2 ? std::strtod(argv[2], nullptr) : 40.0);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "host_probe: %s\n", error.what());
    return 1;
  }
}
