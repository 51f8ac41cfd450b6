#include "kernels/bench/host_adam_bench.h"

#include <fmt/format.h>
#include <omp.h>
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>

#include "core/rng.h"
#include "kernels/host_adam.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace llama_zero::bench {

namespace {

using Clock = std::chrono::steady_clock;

/// Pages of a host allocation, large ones where the system gives them.
class HostMemory {
 public:
  explicit HostMemory(std::size_t bytes) : bytes_(bytes) {
    void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    require(data != MAP_FAILED, "host_adam: {} bytes of host memory cannot be had", bytes);
    madvise(data, bytes, MADV_HUGEPAGE);
    data_ = static_cast<std::byte*>(data);
  }
  ~HostMemory() { munmap(data_, bytes_); }
  HostMemory(const HostMemory&) = delete;
  HostMemory& operator=(const HostMemory&) = delete;

  View take(DType dtype, std::int64_t count) {
    const View view(data_ + used_, count, dtype);
    used_ += (view.bytes() + 63) / 64 * 64 + kHostArrayStagger;
    require(used_ <= bytes_, "host_adam: the benchmark's own memory is too small");
    return view;
  }

 private:
  std::size_t bytes_, used_ = 0;
  std::byte* data_;
};

void fill_random(View view, std::uint64_t seed, bool positive, int threads) {
  first_touch(view, threads);
  const CounterRng rng(1, seed);
  const std::int64_t n = view.numel();
#pragma omp parallel for schedule(static) num_threads(threads)
  for (std::int64_t i = 0; i < n; ++i) {
    const auto at = static_cast<std::uint64_t>(i % 1'000'003);  // random enough, and quick to make
    const auto value = static_cast<float>(positive ? 0.5 + rng.uniform(at) : 2.0 * rng.uniform(at) - 1.0);
    if (view.dtype() == DType::kF32) view.as<float>()[i] = value;
    if (view.dtype() == DType::kF16) view.as<Half>()[i] = Half(value);
    if (view.dtype() == DType::kBF16) view.as<BFloat16>()[i] = BFloat16(value);
  }
}

StepState step_state() {
  StepState state;
  state.applied_steps = 10;
  state.lr = 1e-4;
  state.grad_multiplier = 0.5F;
  state.bias_correction1 = 0.65;
  state.bias_correction2_sqrt = 0.1;
  return state;
}

/// The tensors of one update in memory of their own.
struct Problem {
  Problem(std::int64_t n, DType dtype, int threads) : memory(static_cast<std::size_t>(n) * 28 + (1U << 21U)) {
    static const StepState state = step_state();
    args.master = memory.take(DType::kF32, n);
    args.exp_avg = memory.take(DType::kF32, n);
    args.exp_avg_sq = memory.take(DType::kF32, n);
    const View gradient = memory.take(dtype, n);
    if (dtype != DType::kF32) args.weights = memory.take(dtype, n);
    args.gradient = gradient;
    args.state = {reinterpret_cast<const std::byte*>(&state), sizeof(state), DType::kU8};
    args.weight_decay = 0.01;
    fill_random(args.master, 1, false, threads);
    fill_random(args.exp_avg, 2, false, threads);
    fill_random(args.exp_avg_sq, 3, true, threads);
    fill_random(gradient, 4, false, threads);
    if (args.weights) first_touch(args.weights, threads);
  }
  std::vector<View> changed() const { return {args.master, args.exp_avg, args.exp_avg_sq, args.weights}; }
  double bytes() const {
    return static_cast<double>(2 * (args.master.bytes() + args.exp_avg.bytes() + args.exp_avg_sq.bytes()) +
                               args.gradient.bytes() + args.weights.bytes());
  }

  HostMemory memory;
  AdamW args;
};

/// Elements whose bits after three updates are not those of the CPU backend's op.
std::int64_t differences(DType dtype, const HostAdamOptions& options) {
  constexpr std::int64_t kElements = 1'000'003;
  const Problem by_host(kElements, dtype, 1), by_op(kElements, dtype, 1);
  const auto ops = make_cpu_ops(1);
  const auto device = make_cpu_device();
  const auto stream = device->create_stream("check");
  for (int step = 0; step < 3; ++step) {
    host_adam(by_host.args, options);
    ops->adamw(by_op.args, *stream);
  }
  std::int64_t different = 0;
  for (std::size_t k = 0; k < by_op.changed().size(); ++k) {
    const View a = by_host.changed()[k], b = by_op.changed()[k];
    for (std::size_t i = 0; i < a.bytes(); i += size_of(a.dtype())) {
      different += std::memcmp(a.raw() + i, b.raw() + i, size_of(a.dtype())) == 0 ? 0 : 1;
    }
  }
  return different;
}

struct Samples {
  double median, spread;  ///< seconds; (90th - 10th percentile) / median
};

template <typename Work>
Samples sample(int count, const Work& work) {
  work();
  std::vector<double> seconds;
  for (int i = 0; i < count; ++i) {
    const auto start = Clock::now();
    work();
    seconds.push_back(std::chrono::duration<double>(Clock::now() - start).count());
  }
  std::sort(seconds.begin(), seconds.end());
  const auto at = [&](double q) { return seconds[static_cast<std::size_t>(q * static_cast<double>(count - 1))]; };
  return {at(0.5), (at(0.9) - at(0.1)) / at(0.5)};
}

void copy_share(std::byte* to, const std::byte* from, std::size_t bytes, bool streaming) {
#if defined(__AVX2__)
  for (std::size_t i = 0; i < bytes; i += sizeof(__m256i)) {
    const __m256i value = _mm256_load_si256(reinterpret_cast<const __m256i*>(from + i));
    auto* const out = reinterpret_cast<__m256i*>(to + i);
    streaming ? _mm256_stream_si256(out, value) : _mm256_store_si256(out, value);
  }
  _mm_sfence();
#else
  static_cast<void>(streaming);
  std::memcpy(to, from, bytes);
#endif
}

/// Bytes per second, read and written ones counted, of all threads copying as much as an update moves.
double copy_rate(const HostAdamBench& options, int threads, bool streaming) {
  const std::size_t bytes = static_cast<std::size_t>(options.elements) * 12 / 4096 * 4096;
  HostMemory memory(2 * bytes + (1U << 20U));
  const View to = memory.take(DType::kU8, static_cast<std::int64_t>(bytes));
  const View from = memory.take(DType::kU8, static_cast<std::int64_t>(bytes));
  first_touch(to, threads);
  first_touch(from, threads);
  const auto pages = static_cast<std::int64_t>(bytes / 4096);
  const Samples time = sample(options.samples, [&] {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (std::int64_t page = 0; page < pages; ++page) {
      copy_share(to.raw() + page * 4096, from.raw() + page * 4096, 4096, streaming);
    }
  });
  return 2.0 * static_cast<double>(bytes) / time.median;
}

struct Row {
  HostAdamOptions options;
  DType dtype;
  Samples time;
  double bytes_per_second, of_copy;
  std::int64_t different;
};

void print(const Row& row, const HostAdamBench& bench) {
  const std::string_view store = row.options.streaming_stores ? "streaming" : "ordinary";
  if (bench.json) {
    const nlohmann::ordered_json line = {{"op", "host_adam"},
                                         {"path", name_of(row.options.path)},
                                         {"stores", store},
                                         {"dtype", name_of(row.dtype)},
                                         {"elements", bench.elements},
                                         {"threads", row.options.threads},
                                         {"median_us", row.time.median * 1e6},
                                         {"spread", row.time.spread},
                                         {"gb_per_s", row.bytes_per_second * 1e-9},
                                         {"of_copy_bandwidth", row.of_copy},
                                         {"different_bits", row.different}};
    fmt::print("{}\n", line.dump());
  } else {
    fmt::print("{:<10} {:<9} {:<9} {:<5} {:>11} {:>7} {:>9.2f} {:>7.0f} {:>7.1f} {:>9.0f}  {}\n", "host_adam",
               name_of(row.options.path), store, name_of(row.dtype), bench.elements, row.options.threads,
               row.time.median * 1e3, 50.0 * row.time.spread, row.bytes_per_second * 1e-9, 100.0 * row.of_copy,
               row.different == 0 ? "the op's bits" : fmt::format("WRONG: {} elements differ", row.different));
  }
  std::fflush(stdout);
}

}  // namespace

int run_host_adam_bench(const HostAdamBench& bench) {
  const int threads = bench.threads > 0 ? bench.threads : omp_get_num_procs();
  const double ordinary = copy_rate(bench, threads, false);
  const double streaming = copy_rate(bench, threads, true);
  const double copy = std::max(ordinary, streaming);
  if (!bench.json) {
    fmt::print("host copy by {} threads, read + write: {:.1f} GB/s with streaming stores, {:.1f} with ordinary ones\n",
               threads, streaming * 1e-9, ordinary * 1e-9);
    fmt::print("{:<10} {:<9} {:<9} {:<5} {:>11} {:>7} {:>9} {:>7} {:>7} {:>9}\n", "", "path", "weights", "dtype",
               "elements", "threads", "ms", "+-%", "GB/s", "% of copy");
  }
  int wrong = 0;
  for (const DType dtype : bench.dtypes) {
    const Problem problem(bench.elements, dtype, threads);
    for (const HostAdamPath path : {HostAdamPath::kPortable, HostAdamPath::kAvx2, HostAdamPath::kAvx512}) {
      if (!is_available(path)) continue;
      for (const bool stream : {true, false}) {
        if (!stream && (path == HostAdamPath::kPortable || dtype == DType::kF32)) continue;
        Row row{{threads, path, stream && path != HostAdamPath::kPortable && dtype != DType::kF32}, dtype, {}, 0, 0, 0};
        row.different = differences(dtype, row.options);
        row.time = sample(bench.samples, [&] { host_adam(problem.args, row.options); });
        row.bytes_per_second = problem.bytes() / row.time.median;
        row.of_copy = row.bytes_per_second / copy;
        print(row, bench);
        wrong += row.different == 0 ? 0 : 1;
      }
    }
  }
  return wrong;
}

}  // namespace llama_zero::bench
