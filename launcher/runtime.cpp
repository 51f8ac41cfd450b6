#include "launcher/runtime.h"

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <cstdlib>

#include "launcher/driver_memory.h"

namespace llama_zero {
namespace {

int usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return 1;
  return std::max(1, CPU_COUNT(&set));
}

}  // namespace

int threads_per_rank(const char* environment, int cores, int ranks_on_host) {
  const int wanted = environment == nullptr ? 0 : std::atoi(environment);
  if (wanted >= 1) return wanted;
  const int share = cores >= ranks_on_host ? cores / ranks_on_host : cores;
  return std::max(1, share);
}

Runtime::Runtime(MpiWorld& world, const RuntimeOptions& options)
    : world_(world),
      group_(world.rank(), world.size(), {options.collective_timeout, options.work_timeout}),
      threads_(threads_per_rank(std::getenv("OMP_NUM_THREADS"), usable_cores(), world.local_size())) {
  choose_backend(options);
  count_sharers();
  choose_communicator(options.communicator, options.collective_timeout);
  free_at_start_ = backend_.device->memory_info().free;
}

void Runtime::choose_communicator(CommunicatorChoice choice, double timeout_seconds) {
  group_.together([&] { check_communicator(backend_, choice, most_sharing_); });
  if (choice == CommunicatorChoice::kAuto) {
    const bool everywhere = ranks() > 1 && !group_.any(!nccl_serves(backend_, most_sharing_));
    choice = everywhere ? CommunicatorChoice::kNccl : CommunicatorChoice::kMpi;
  }
  by_nccl_ = choice == CommunicatorChoice::kNccl;
  communicator_ = make_communicator(world_, backend_, choice, timeout_seconds);
}

void Runtime::choose_backend(const RuntimeOptions& options) {
  bool cuda = options.device != DeviceChoice::kCpu;
  if (options.device == DeviceChoice::kAuto) {
    why_no_cuda_ = why_no_cuda();
    cuda = !group_.any(!why_no_cuda_.empty());
    if (!cuda && why_no_cuda_.empty()) why_no_cuda_ = "another rank cannot use it";
  }
  group_.together([&] {
    backend_ = cuda ? make_cuda_backend(world_.local_rank(), options.attention) : make_cpu_backend(threads_);
  });
}

// Ranks tell one another which GPU they have: equal ordinals can be different GPUs, and the other way round, when
// CUDA_VISIBLE_DEVICES is set for each rank.
void Runtime::count_sharers() {
  if (backend_.device->type() == DeviceType::kCpu) {
    sharing_ = most_sharing_ = world_.local_size();
    return;
  }
  std::vector<double> identities(static_cast<std::size_t>(ranks()));
  identities[static_cast<std::size_t>(rank())] = static_cast<double>(backend_.gpu_identity);
  identities = group_.sum(identities);
  const double mine = identities[static_cast<std::size_t>(rank())];
  sharing_ = static_cast<int>(std::ranges::count(identities, mine));
  most_sharing_ = static_cast<int>(group_.max(sharing_));
}

std::size_t Runtime::free_bytes() const {
  group_.barrier();  // every context on the device has taken its part
  const std::size_t taken = backend_.device->type() == DeviceType::kCuda ? library_bytes(*this) : 0;
  const std::size_t all = backend_.device->memory_info().free / static_cast<std::size_t>(sharing_);
  const std::size_t free = all - std::min(all, taken);
  return static_cast<std::size_t>(group_.min(static_cast<std::int64_t>(free)));
}

std::optional<std::size_t> Runtime::driver_bytes() const {
  if (backend_.device->type() != DeviceType::kCuda || sharing_ > 1) return std::nullopt;
  const std::size_t free = backend_.device->memory_info().free;
  return free_at_start_ > free ? free_at_start_ - free : 0;
}

std::string Runtime::describe_device() const {
  std::string text = backend_.device->description();
  if (backend_.gpus > 0) {
    text += fmt::format(" (GPU {} of {})", backend_.gpu, backend_.gpus);
    if (most_sharing_ > 1) text += fmt::format("; {} ranks share one GPU", most_sharing_);
  }
  if (!why_no_cuda_.empty()) text += "; CUDA is not used: " + why_no_cuda_;
  return text;
}

std::string Runtime::describe_ranks() const {
  return fmt::format("{} ({} on this host), {} thread{} each; {}, {}", ranks(), ranks_on_host(), threads_,
                     threads_ == 1 ? "" : "s", communicator_->description(), world_.version());
}

}  // namespace llama_zero
