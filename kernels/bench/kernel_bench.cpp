// Checks every op against fp64, then times it: kernel_bench [op] [--shape T=2048,H=192] [--dtype fp16] [--json].
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <nlohmann/json.hpp>
#include <set>

#include "core/error.h"
#include "kernels/bench/host_adam_bench.h"
#include "kernels/bench/measure.h"

namespace {

using namespace llama_zero;
using namespace llama_zero::bench;

struct Options {
  std::string op;
  std::vector<std::string> shapes;
  std::vector<std::string> dtypes = {"fp32", "fp16", "bf16"};
  std::string device = "auto";
  int threads = 0;
  int samples = 30;
  int memory_mib = 0;  ///< 0: 2 GiB on the CPU, 24 GiB on a GPU
  bool json = false;
};

DType parse_dtype(const std::string& name) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    if (name == name_of(dtype)) return dtype;
  }
  fail("--dtype: '{}' is not fp32, fp16 or bf16", name);
}

/// Small and odd, for the comparison of every element with the CPU reference.
constexpr const char* kCheckedShape = "T=193,H=192,N=320,I=264,Q=6,G=3,D=64,V=509,L=50,R=3,E=100003";

/// The default shapes are those of the tiny model and of a wider one; on a GPU those of a 7B model.
std::vector<Shape> shapes_of(const Options& options, bool gpu) {
  std::vector<std::string> texts = options.shapes;
  if (texts.empty() && gpu) {
    texts = {"T=8192,H=4096,N=4096,I=11008,Q=32,G=32,D=128,V=32000,L=2048,R=4,E=268435456"};
  } else if (texts.empty()) {
    texts = {"", "H=512,N=512,I=1376,Q=8,G=8,D=64,V=8192,L=256"};
  }
  std::vector<Shape> shapes;
  for (const std::string& text : texts) shapes.emplace_back().set(text);
  return shapes;
}

struct Row {
  std::string op, shape, dtype;
  Comparison comparison;
  Timing timing;
  double gigabytes_per_second, gigaflops, of_copy, of_gemm;
};

/// Whether the fp64 reference would take long: then some elements are recomputed one by one instead.
bool is_large(const Case& c) { return c.bytes > 64e6 || c.flops > 2e10; }

/// All elements at the small shape, and all or some at the one that is timed.
Comparison check(const OpEntry& op, const Shape& shape, DType dtype, Backend& backend, Backend& reference) {
  Shape small;
  small.set(kCheckedShape);
  const Comparison at_small = compare_with_fp64(op, small, dtype, backend, reference);
  const Arena::Scope scope(*backend.arena);
  CaseBuilder builder(backend, dtype, dtype);
  const Case c = op.make(builder, shape);
  if (is_large(c)) return worse(at_small, compare_with_expected(c, dtype, backend));
  const Arena::Scope inner(*backend.arena);
  return worse(at_small, compare_with_fp64(op, shape, dtype, backend, reference));
}

Row measure(const OpEntry& op, const Shape& shape, DType dtype, const Options& options, const Peaks& peaks,
            Backend& backend, Backend& reference) {
  Row row{op.name, shape.describe(op.letters), std::string(name_of(dtype)), {}, {}, 0.0, 0.0, 0.0, 0.0};
  row.comparison = check(op, shape, dtype, backend, reference);
  const Arena::Scope scope(*backend.arena);
  CaseBuilder builder(backend, dtype, dtype);
  const Case c = op.make(builder, shape);
  row.timing = time_it(backend, c.run, options.samples);
  row.gigabytes_per_second = c.bytes / row.timing.median_seconds * 1e-9;
  row.gigaflops = c.flops / row.timing.median_seconds * 1e-9;
  row.of_copy = row.gigabytes_per_second * 1e9 / peaks.copy_bytes_per_second;
  row.of_gemm = row.gigaflops * 1e9 / peaks.gemm_flops_per_second;
  return row;
}

void print_line(const Row& row) {
  const bool tera = row.gigaflops >= 1e4;
  const std::string rate =
      row.gigaflops > 0.0
          ? fmt::format("{:8.1f} {}FLOP/s {:4.0f} % of GEMM", row.gigaflops * (tera ? 1e-3 : 1.0), tera ? 'T' : 'G',
                        100.0 * row.of_gemm)
          : fmt::format("{:8.1f} GB/s    {:4.0f} % of copy", row.gigabytes_per_second, 100.0 * row.of_copy);
  fmt::print("{:<23} {:<32} {:<5} {:>9.1f} us +-{:3.0f} %  {}  error {:.1e} of {:.1e}{}\n", row.op, row.shape,
             row.dtype, row.timing.median_seconds * 1e6, 50.0 * row.timing.spread, rate, row.comparison.error,
             row.comparison.tolerance, row.comparison.ok() ? "" : "  WRONG");
  std::fflush(stdout);
}

void print_json(const Row& row) {
  const nlohmann::ordered_json line = {{"op", row.op},
                                       {"shape", row.shape},
                                       {"dtype", row.dtype},
                                       {"median_us", row.timing.median_seconds * 1e6},
                                       {"spread", row.timing.spread},
                                       {"samples", row.timing.samples},
                                       {"gb_per_s", row.gigabytes_per_second},
                                       {"gflop_per_s", row.gigaflops},
                                       {"of_copy_bandwidth", row.of_copy},
                                       {"of_large_gemm", row.of_gemm},
                                       {"error", row.comparison.error},
                                       {"tolerance", row.comparison.tolerance},
                                       {"compared", row.comparison.compared},
                                       {"ok", row.comparison.ok()}};
  fmt::print("{}\n", line.dump());
  std::fflush(stdout);
}

Backend make_backend(const Options& options) {
  const std::string missing = why_no_gpu();
  require(options.device != "cuda" || missing.empty(), "CUDA cannot be used: {}", missing);
  const bool gpu = options.device == "cuda" || (options.device == "auto" && missing.empty());
  const int memory = options.memory_mib > 0 ? options.memory_mib : gpu ? 24576 : 2048;
  const std::size_t capacity = static_cast<std::size_t>(memory) << 20U;
  return gpu ? make_gpu_backend(capacity) : make_cpu_backend(options.threads, capacity);
}

/// AdamW of offloaded states runs on the host whatever the device.
int run_host_adam(const Options& options) {
  HostAdamBench bench;
  for (const std::string& text : options.shapes) {
    Shape shape;
    shape.set(text);
    bench.elements = shape.elements;
  }
  for (const std::string& dtype : options.dtypes) bench.dtypes.push_back(parse_dtype(dtype));
  bench.threads = options.threads;
  bench.samples = options.samples;
  bench.json = options.json;
  return run_host_adam_bench(bench);
}

/// Returns how many cases gave wrong results.
int run(const Options& options) {
  if (options.op == "host_adam") return run_host_adam(options);
  Backend backend = make_backend(options);
  Backend reference = make_cpu_backend(options.threads, std::size_t{2} << 30U);
  const Peaks peaks = measure_peaks(backend);
  if (!options.json) {
    fmt::print("{}\ncopy {:.1f} GB/s, large GEMM {:.1f} GFLOP/s ({})\n", backend.device->description(),
               peaks.copy_bytes_per_second * 1e-9, peaks.gemm_flops_per_second * 1e-9, peaks.description);
  }
  int wrong = 0;
  bool found = false;
  for (const OpEntry& op : op_table()) {
    if (!options.op.empty() && op.name != options.op) continue;
    found = true;
    std::set<std::string> done;  // shapes that differ in sizes which this op does not use
    for (const Shape& shape : shapes_of(options, backend.is_gpu())) {
      if (!done.insert(shape.describe(op.letters)).second) continue;
      for (const std::string& dtype : options.dtypes) {
        const Row row = measure(op, shape, parse_dtype(dtype), options, peaks, backend, reference);
        options.json ? print_json(row) : print_line(row);
        wrong += row.comparison.ok() ? 0 : 1;
      }
    }
  }
  require(found, "no op is called '{}'; without a name all are run", options.op);
  return wrong;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Checks and times the ops of llama_zero's compute backends");
  Options options;
  app.add_option("op", options.op, "name of one op, as in kernels/ops.h, or host_adam; default: all ops");
  app.add_option("--shape", options.shapes,
                 "sizes, e.g. T=2048,H=192,N=512,I=512,Q=6,G=6,D=32,V=1024,L=64,R=4,E=4000000")
      ->delimiter(';')
      ->allow_extra_args(false);
  app.add_option("--dtype", options.dtypes, "fp32, fp16, bf16; default: all")->delimiter(',')->allow_extra_args(false);
  app.add_option("--device", options.device, "auto, cpu or cuda; auto: a GPU where there is one")
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}));
  app.add_option("--threads", options.threads, "CPU threads; default: all cores");
  app.add_option("--samples", options.samples, "least number of timed samples")->check(CLI::Range(1, 100000));
  app.add_option("--memory", options.memory_mib, "MiB of tensors the backend may take; default: 2048, on a GPU 24576")
      ->check(CLI::Range(1, 1 << 20));
  app.add_flag("--json", options.json, "one JSON object a line");
  CLI11_PARSE(app, argc, argv);
  try {
    return run(options) == 0 ? 0 : 1;
  } catch (const std::exception& error) {
    fmt::print(stderr, "kernel_bench: {}\n", error.what());
    return 1;
  }
}
