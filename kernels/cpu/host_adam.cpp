#include "kernels/host_adam.h"

#include <algorithm>
#include <cstring>

#include "kernels/adam_update.h"
#include "kernels/check.h"
#include "kernels/cpu/context.h"
#include "kernels/cpu/host_adam_kernels.h"

namespace llama_zero {

namespace {

using namespace cpu;

/// Elements of a thread's share are a multiple of this, and so is where it begins.
constexpr std::int64_t kShare = 1024;
static_assert(kShare % kHostAdamGroup == 0);
constexpr std::size_t kLine = 64;

int team_size(int threads) { return threads > 0 ? threads : omp_get_num_procs(); }

/// Calls body(begin, end) on each thread of the team for its share of [0, elements).
template <typename Body>
void for_shares(std::int64_t elements, int threads, const Body& body) {
  const std::int64_t pieces = (elements + kShare - 1) / kShare;
  const std::int64_t team = std::min<std::int64_t>(team_size(threads), pieces);
#pragma omp parallel for num_threads(static_cast <int>(std::max <std::int64_t>(1, team))) schedule(static, 1)
  for (std::int64_t share = 0; share < team; ++share) {
    body(pieces * share / team * kShare, std::min(elements, pieces * (share + 1) / team * kShare));
  }
}

HostAdamKernel* kernel_of(HostAdamPath path) {
#if defined(__x86_64__)
  if (path == HostAdamPath::kAvx512) return host_adam_avx512;
  if (path == HostAdamPath::kAvx2) return host_adam_avx2;
#endif
  return path == HostAdamPath::kPortable ? host_adam_portable : nullptr;
}

HostAdamConstants constants_of(const AdamW& args, const StepState& state) {
  const auto update = AdamRule<true>{args.eps, args.weight_decay}.at<float>(state);
  return {
      update.beta1,        update.beta2, update.one_minus_beta1,  update.one_minus_beta2,       update.eps,
      update.weight_decay, update.lr,    update.bias_correction1, update.bias_correction2_sqrt, state.grad_multiplier,
      args.decoupled_decay};
}

bool is_line_aligned(const void* data) { return reinterpret_cast<std::uintptr_t>(data) % kLine == 0; }

}  // namespace

std::string_view name_of(HostAdamPath path) {
  switch (path) {
    case HostAdamPath::kPortable:
      return "portable";
    case HostAdamPath::kAvx2:
      return "avx2";
    case HostAdamPath::kAvx512:
      return "avx512";
  }
  return "unknown";
}

bool is_available(HostAdamPath path) {
#if defined(__x86_64__)
  // Every processor with AVX2 and FMA has F16C.
  if (path == HostAdamPath::kAvx2) return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0;
  if (path == HostAdamPath::kAvx512) return __builtin_cpu_supports("avx512f") != 0;
#endif
  return path == HostAdamPath::kPortable;
}

HostAdamPath best_host_adam_path() {
  for (const HostAdamPath path : {HostAdamPath::kAvx512, HostAdamPath::kAvx2}) {
    if (is_available(path)) return path;
  }
  return HostAdamPath::kPortable;
}

void host_adam(const AdamW& args, const HostAdamOptions& options) {
  check(args);
  require(args.master.dtype() == DType::kF32, "host_adam: the states hold {}, not fp32", name_of(args.master.dtype()));
  require(is_available(options.path), "host_adam: this machine has no {}", name_of(options.path));
  StepState state;
  std::memcpy(&state, args.state.raw(), sizeof(state));
  if (state.skip != 0) return;
  const HostAdamConstants constants = constants_of(args, state);
  // Lines that the gradient was just read from are in the cache: a streaming store would only throw them out of it.
  const bool streams =
      options.streaming_stores && is_line_aligned(args.weights.raw()) && args.weights.raw() != args.gradient.raw();
  const HostAdamArrays arrays{args.master.as<float>(),
                              args.exp_avg.as<float>(),
                              args.exp_avg_sq.as<float>(),
                              args.gradient.raw(),
                              args.weights.raw(),
                              args.gradient.dtype(),
                              args.weights ? args.weights.dtype() : kNoWeights,
                              streams};
  HostAdamKernel* const kernel = kernel_of(options.path);
  for_shares(args.master.numel(), options.threads, [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t whole = begin + (end - begin) / kHostAdamGroup * kHostAdamGroup;
    kernel(constants, arrays, begin, whole);
    host_adam_portable(constants, arrays, whole, end);
  });
}

void first_touch(View memory, int threads) {
  const std::size_t bytes = size_of(memory.dtype());
  for_shares(memory.numel(), threads, [&](std::int64_t begin, std::int64_t end) {
    std::memset(memory.raw() + static_cast<std::size_t>(begin) * bytes, 0,
                static_cast<std::size_t>(end - begin) * bytes);
  });
}

}  // namespace llama_zero
