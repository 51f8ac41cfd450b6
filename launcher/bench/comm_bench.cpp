// Times the collectives of training on all ranks, NCCL's own reduce-scatter beside our reduction, after checking them.
// Bus bandwidth is what NCCL's tests call busbw: bytes of the whole buffer / time * (ranks - 1) / ranks.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/rng.h"
#include "launcher/bench/bench_main.h"
#ifdef LLAMA_ZERO_WITH_CUDA
#include "zero/cuda/nccl_communicator.h"
#include "zero/cuda/pinned_staging.h"
#endif

namespace llama_zero::bench {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::int64_t kMiB = std::int64_t{1} << 20;
constexpr std::int64_t kCheckedPiece = 64 * 1031;  // elements: several chunks and tiles, the last ones not full
constexpr const char* kOps[] = {"all_gather", "all_to_all", "all_to_all+reduce", "nccl_reduce_scatter"};

struct Options {
  std::int64_t least_mib = 1, most_mib = 512;
  int repeats = 20;
  bool registered = false, json = false;
  RuntimeOptions runtime;
};

std::unique_ptr<Communicator> host_staged(MpiWorld& world, Device& device, double timeout_seconds) {
#ifdef LLAMA_ZERO_WITH_CUDA
  if (device.type() == DeviceType::kCuda)
    return make_mpi_communicator(world, timeout_seconds, make_pinned_staging(device));
#endif
  if (world.size() == 1) return make_local_communicator(device);
  return make_mpi_communicator(world, timeout_seconds);
}

/// NCCL's own sum; false where the ranks do not exchange by NCCL.
bool nccl_sum(Communicator& communicator, ConstView send, View recv, Stream& stream) {
#ifdef LLAMA_ZERO_WITH_CUDA
  if (communicator.description().starts_with("NCCL")) {
    nccl_reduce_scatter(communicator, send, recv, stream);
    return true;
  }
#endif
  (void)communicator, (void)send, (void)recv, (void)stream;
  return false;
}

void register_with_nccl(Communicator& communicator, View memory) {
#ifdef LLAMA_ZERO_WITH_CUDA
  nccl_register(communicator, memory);
#else
  (void)memory;
  fail("{} does not register memory", communicator.description());
#endif
}

std::vector<Half> values_of(int rank, std::int64_t count) {
  const CounterRng rng(11, static_cast<std::uint64_t>(rank));
  std::vector<Half> values;
  for (std::int64_t i = 0; i < count; ++i)
    values.emplace_back(static_cast<float>(rng.normal(static_cast<std::uint64_t>(i))));
  return values;
}

/// Buffers of `elements` fp16 numbers on the device, and what is done with them.
class Bench {
 public:
  Bench(Runtime& runtime, std::int64_t elements)
      : runtime_(runtime),
        arena_(runtime.device(), 3 * (static_cast<std::size_t>(elements) * 2 + Arena::kAlignment), "buffers"),
        all_(arena_.allocate("buffers", DType::kF16, 3 * (elements + 128))),
        send_(all_.slice(0, elements)),
        recv_(all_.slice(elements + 128, elements)),
        out_(all_.slice(2 * (elements + 128), elements)),
        stream_(runtime.device().create_stream("bench")) {}

  View memory() const { return all_; }
  Stream& stream() { return *stream_; }

  void all_gather(Communicator& with, std::int64_t elements) {
    with.all_gather(send_.slice(0, elements / with.size()), recv_.slice(0, elements), *stream_);
  }
  void all_to_all(Communicator& with, std::int64_t elements) {
    with.all_to_all(send_.slice(0, elements), recv_.slice(0, elements), *stream_);
  }
  /// The reduction of training.
  void reduce(Communicator& with, std::int64_t elements) {
    all_to_all(with, elements);
    runtime_.ops().reduce_pieces({with.size(), recv_.slice(0, elements), 1.0, out_.slice(0, elements / with.size())},
                                 *stream_);
  }
  bool nccl_reduce(Communicator& with, std::int64_t elements) {
    return nccl_sum(with, send_.slice(0, elements), out_.slice(0, elements / with.size()), *stream_);
  }

  void set(const std::vector<Half>& values) {
    runtime_.device().copy(ConstView::of<Half>(values), send_.slice(0, std::ssize(values)), *stream_);
    stream_->synchronize();
  }
  std::vector<Half> received(std::int64_t count) { return read(recv_, count); }
  std::vector<Half> reduced(std::int64_t count) { return read(out_, count); }
  void clear() {
    runtime_.device().fill_bytes(recv_, 0xff, *stream_);
    runtime_.device().fill_bytes(out_, 0xff, *stream_);
  }
  /// Random numbers in all of what is sent.
  void fill_random() {
    const std::int64_t piece = std::min<std::int64_t>(send_.numel(), kMiB / 2);
    set(values_of(runtime_.rank(), piece));
    for (std::int64_t begin = piece; begin < send_.numel(); begin += piece) {
      const std::int64_t count = std::min(piece, send_.numel() - begin);
      runtime_.device().copy(send_.slice(0, count), send_.slice(begin, count), *stream_);
    }
    stream_->synchronize();
  }

 private:
  std::vector<Half> read(View from, std::int64_t count) {
    std::vector<Half> values(static_cast<std::size_t>(count));
    runtime_.device().copy(from.slice(0, count), View::of<Half>(values), *stream_);
    stream_->synchronize();
    return values;
  }

  Runtime& runtime_;
  Arena arena_;
  View all_, send_, recv_, out_;
  std::unique_ptr<Stream> stream_;
};

bool same_bits(const std::vector<Half>& a, const std::vector<Half>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(Half)) == 0;
}

/// What every collective must give on this rank.
struct Expected {
  std::vector<Half> gathered, exchanged, sum;
  std::vector<float> exact;  ///< of `sum`, not rounded to fp16
};

Expected expect(int rank, int ranks) {
  Expected expected;
  const auto piece = static_cast<std::size_t>(kCheckedPiece);
  expected.exact.assign(piece, 0.0F);
  for (int r = 0; r < ranks; ++r) {
    const std::vector<Half> theirs = values_of(r, kCheckedPiece * ranks);
    const auto mine = theirs.begin() + rank * kCheckedPiece;
    expected.gathered.insert(expected.gathered.end(), theirs.begin(), theirs.begin() + kCheckedPiece);
    expected.exchanged.insert(expected.exchanged.end(), mine, mine + kCheckedPiece);
    for (std::size_t i = 0; i < piece; ++i)
      expected.exact[i] += static_cast<float>(mine[static_cast<std::ptrdiff_t>(i)]);
  }
  for (const float value : expected.exact) expected.sum.emplace_back(value);
  return expected;
}

/// Share of elements, in percent, for which NCCL's sum is not the fp32 sum in rank order rounded once. Throws when one
/// is further away than sums in another order, rounded at every step, can be.
double check_nccl_sum(const std::vector<Half>& got, const Expected& expected, int ranks) {
  std::int64_t other = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const float difference = std::abs(static_cast<float>(got[i]) - expected.exact[i]);
    require(difference <= static_cast<float>(ranks) * 8.0F * static_cast<float>(epsilon_of(DType::kF16)),
            "NCCL's reduce-scatter is off by {} at element {}", difference, i);
    other += got[i].bits != expected.sum[i].bits ? 1 : 0;
  }
  return 100.0 * static_cast<double>(other) / static_cast<double>(got.size());
}

/// Throws when a collective gives other bits than it must. Returns what is said about it.
Json check(Bench& bench, Communicator& main, Communicator& staged) {
  const int ranks = main.size();
  const std::int64_t elements = kCheckedPiece * ranks;
  const Expected expected = expect(main.rank(), ranks);
  bench.set(values_of(main.rank(), elements));
  for (Communicator* with : {&main, &staged}) {
    bench.clear();
    bench.all_gather(*with, elements);
    require(same_bits(bench.received(elements), expected.gathered), "all_gather over {} is wrong", with->description());
    bench.clear();
    bench.all_to_all(*with, elements);
    require(same_bits(bench.received(elements), expected.exchanged), "all_to_all over {} is wrong",
            with->description());
    bench.clear();
    bench.reduce(*with, elements);
    require(same_bits(bench.reduced(kCheckedPiece), expected.sum), "the sum over {} is not the fp32 sum rounded once",
            with->description());
  }
  Json json{{"bits", fmt::format("{} and {}: as they must be", main.description(), staged.description())}};
  bench.clear();
  if (bench.nccl_reduce(main, elements))
    json["nccl_sum_other_bits_percent"] = check_nccl_sum(bench.reduced(kCheckedPiece), expected, ranks);
  return json;
}

/// Median milliseconds of a call, of the slowest rank; one call before is not counted.
double time(const Options& options, Runtime& runtime, Bench& bench, const std::function<void()>& call) {
  std::vector<std::unique_ptr<Event>> events;
  for (int i = 0; i <= options.repeats; ++i) events.push_back(runtime.device().create_timing_event());
  runtime.group().barrier();
  call();
  events.front()->record(bench.stream());
  for (int i = 1; i <= options.repeats; ++i) {
    call();
    events[static_cast<std::size_t>(i)]->record(bench.stream());
  }
  bench.stream().synchronize();
  std::vector<double> samples;
  for (std::size_t i = 1; i < events.size(); ++i) samples.push_back(events[i]->elapsed_ms(*events[i - 1]));
  std::ranges::nth_element(samples, samples.begin() + options.repeats / 2);
  const double median = samples[static_cast<std::size_t>(options.repeats / 2)];
  return static_cast<double>(runtime.group().max(std::llround(median * 1e6))) * 1e-6;
}

Json time_size(const Options& options, Runtime& runtime, Bench& bench, std::int64_t bytes) {
  Communicator& with = runtime.communicator();
  const int ranks = with.size();
  const std::int64_t elements = bytes / 2 / (64 * ranks) * 64 * ranks;
  Json row{{"bytes", elements * 2}};
  const auto add = [&](const char* op, double ms) {
    const double bus = static_cast<double>(elements) * 2.0 * (ranks - 1) / ranks / (ms * 1e-3) * 1e-9;
    row[op] = {{"ms", ms}, {"busbw_gb_s", bus}};
  };
  add(kOps[0], time(options, runtime, bench, [&] { bench.all_gather(with, elements); }));
  add(kOps[1], time(options, runtime, bench, [&] { bench.all_to_all(with, elements); }));
  add(kOps[2], time(options, runtime, bench, [&] { bench.reduce(with, elements); }));
  if (with.description().starts_with("NCCL"))
    add(kOps[3], time(options, runtime, bench, [&] { bench.nccl_reduce(with, elements); }));
  return row;
}

void print(const Json& json) {
  fmt::print("{} | {} | NCCL_NVLS_ENABLE={} | registered buffers: {}\n", json["ranks_text"].get<std::string>(),
             json["device"].get<std::string>(), json["nvls"].get<std::string>(), json["registered"].get<bool>());
  fmt::print("checked: {}\n", json["checked"]["bits"].get<std::string>());
  if (json["checked"].contains("nccl_sum_other_bits_percent")) {
    fmt::print("NCCL's own sum has other bits than the fp32 sum rounded once in {:.2f} % of elements\n",
               json["checked"]["nccl_sum_other_bits_percent"].get<double>());
  }
  fmt::print("{:>10}", "MiB");
  for (const char* op : kOps) fmt::print(" {:>19} ms  GB/s", op);
  fmt::print("\n");
  for (const Json& row : json["sizes"]) {
    fmt::print("{:>10.2f}", row["bytes"].get<double>() / static_cast<double>(kMiB));
    for (const char* op : kOps) {
      if (!row.contains(op)) continue;
      fmt::print(" {:>22.4f} {:>5.1f}", row[op]["ms"].get<double>(), row[op]["busbw_gb_s"].get<double>());
    }
    fmt::print("\n");
  }
}

void run(const Options& options, MpiWorld& world) {
  Runtime runtime(world, options.runtime);
  const auto staged = host_staged(world, runtime.device(), options.runtime.collective_timeout);
  const std::int64_t checked = kCheckedPiece * runtime.ranks();
  Bench bench(runtime, std::max(options.most_mib * kMiB / 2, checked));
  if (options.registered) register_with_nccl(runtime.communicator(), bench.memory());
  Json json{{"program", "comm_bench"},
            {"ranks", runtime.ranks()},
            {"ranks_text", runtime.describe_ranks()},
            {"communicator", runtime.communicator().description()},
            {"device", runtime.describe_device()},
            {"nvls", environment("NCCL_NVLS_ENABLE")},
            {"registered", options.registered}};
  json["checked"] = check(bench, runtime.communicator(), *staged);
  bench.fill_random();
  json["sizes"] = Json::array();
  for (std::int64_t mib = options.least_mib; mib <= options.most_mib; mib *= 2)
    json["sizes"].push_back(time_size(options, runtime, bench, mib * kMiB));
  if (runtime.rank() != 0) return;
  if (options.json) {
    fmt::print("{}\n", json.dump());
  } else {
    print(json);
  }
}

}  // namespace
}  // namespace llama_zero::bench

int main(int argc, char** argv) {
  using namespace llama_zero::bench;
  Options options;
  CLI::App app("Checks and times the collectives of training; run it under mpirun.", "comm_bench");
  app.add_option("--from", options.least_mib, "smallest buffer in MiB")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  app.add_option("--to", options.most_mib, "largest buffer in MiB")->capture_default_str()->check(CLI::PositiveNumber);
  app.add_option("--repeats", options.repeats, "timed calls, of which the median counts")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  app.add_flag("--register", options.registered, "register the buffers with NCCL first");
  app.add_flag("--json", options.json, "one JSON object");
  add_runtime_options(app, options.runtime);
  return run_ranks(argc, argv, app, [&](llama_zero::MpiWorld& world) { run(options, world); });
}
