// What overlap_comm saves: ranks as threads of one process, whose streams are threads too, behind a network that takes
// the same time for every collective. Prints how long the computation stood still with and without it; --trace writes
// the timeline of the ranks with it.
#include <CLI/CLI.hpp>
#include <cmath>
#include <mutex>
#include <string>
#include <vector>

#include "core/files.h"
#include "core/log.h"
#include "core/trace.h"
#include "core/worker_device.h"
#include "kernels/streamed_ops.h"
#include "launcher/account.h"
#include "launcher/progress.h"
#include "launcher/trace_file.h"
#include "launcher/trace_observer.h"
#include "zero/engine.h"
#include "zero/streamed_communicator.h"

namespace llama_zero::bench {
namespace {

struct Case {
  int ranks = 4;
  int stage = 3;
  int steps = 3;
  int layers = 8;
  std::int64_t hidden = 128;
  std::int64_t tokens = 256;
  double delay_ms = 5.0;
  bool offload_param = false;
  std::string trace;
};

/// Of one rank's steps after the first.
struct Result {
  double milliseconds = 0.0;  ///< a step
  AccountEntry collectives;
  AccountEntry uploads;
  std::vector<TraceSlice> slices;
};

LlamaConfig model_of(const Case& c) {
  LlamaConfig config;
  config.hidden_size = c.hidden;
  config.intermediate_size = 3 * c.hidden;
  config.num_hidden_layers = c.layers;
  config.num_attention_heads = config.num_key_value_heads = 4;
  config.vocab_size = 1024;
  config.max_position_embeddings = c.tokens;
  return config;
}

Pass pass_of(const Case& c, int rank) {
  Pass pass;
  for (std::int64_t i = 0; i < c.tokens; ++i) {
    pass.tokens.push_back(static_cast<std::int32_t>((i * 37 + rank * 11) % 1024));
    pass.targets.push_back(static_cast<std::int32_t>(((i + 1) * 37 + rank * 11) % 1024));
    pass.positions.push_back(static_cast<std::int32_t>(i));
  }
  pass.cu_seqlens = {0, static_cast<std::int32_t>(c.tokens)};
  pass.attended_tokens = pass.longest = pass.loss_tokens = c.tokens;
  pass.rows = 1;
  return pass;
}

EngineOptions options_of(const Case& c, bool overlap) {
  EngineOptions options;
  options.stage = c.stage;
  options.dtype = options.grad_accum_dtype = DType::kBF16;
  options.optimizer = {.kind = OptimizerKind::kAdamW, .eps = 1e-8, .weight_decay = 0.1};
  options.schedule = {ScheduleRow{}};
  options.max_positions = c.tokens;
  options.overlap_comm = overlap;
  options.param_persistence_threshold = 0;
  options.max_reuse_distance = 0;
  options.offload_param.enabled = c.offload_param;
  return options;
}

Result run_rank(const Case& c, bool overlap, Communicator& threads) {
  const ParamTable table(model_of(c));
  const EngineOptions options = options_of(c, overlap);
  const std::vector<Pass> passes{pass_of(c, threads.rank())};
  const auto cpu_ops = make_cpu_ops(1);
  const MemoryPlan plan = plan_memory(table, options, *cpu_ops, threads.rank(), threads.size(), passes);
  const auto device = make_worker_device();
  const auto ops = make_streamed_ops(*cpu_ops);
  bool slow = false;
  const Network delay = slow_network(c.delay_ms);
  const auto communicator = make_streamed_communicator(*device, threads, [&](std::string_view op) {
    if (slow) delay(op);
  });
  Arena arena(*device, plan.total_bytes() + Arena::kAlignment, "bench");
  ops->set_workspace(arena.allocate("workspace", DType::kU8, static_cast<std::int64_t>(plan.workspace_bytes)));
  Engine engine(table, options, *device, *ops, *communicator, arena);
  engine.initialise(1);
  device->synchronize();
  slow = true;

  AccountKeeper keeper(*device, threads.size());
  TraceRecorder recorder;
  std::vector<std::string> names;
  for (const Unit& unit : table.units()) names.push_back(unit.name);
  TraceObserver observer(*device, names, recorder);
  communicator->add_observer(keeper);
  communicator->add_observer(observer);
  engine.set_observer(&observer);
  const double weight = static_cast<double>(c.tokens * threads.size());
  Result result;
  for (std::int64_t step = 1; step <= c.steps + 1; ++step) {
    observer.begin_step(step);
    engine.train_step(passes, weight);
    const auto done = engine.drain();
    observer.resolve(step);
    const Account account = keeper.take(step);
    if (step == 1) continue;  // the first one starts threads and touches memory
    result.milliseconds += done->seconds * 1e3 / c.steps;
    result.collectives += account.all_collectives();
    const auto uploads = account.copies.find("copy_to_device");
    if (uploads != account.copies.end()) result.uploads += uploads->second;
  }
  engine.set_observer(nullptr);
  result.slices = recorder.take();
  return result;
}

std::vector<Result> run_ranks(const Case& c, bool overlap) {
  std::vector<Result> results(static_cast<std::size_t>(c.ranks));
  run_rank_threads(c.ranks, [&](Communicator& threads) {
    results[static_cast<std::size_t>(threads.rank())] = run_rank(c, overlap, threads);
  });
  return results;
}

/// The slowest rank's wait decides; all ranks' are within noise of one another.
double print(const Case& c, bool overlap, const std::vector<Result>& results) {
  double wait = 0.0, work = 0.0, step = 0.0, upload = 0.0;
  for (const Result& result : results) {
    wait += result.collectives.wait_ms / c.steps / c.ranks;
    work += result.collectives.ms / c.steps / c.ranks;
    upload += result.uploads.wait_ms / c.steps / c.ranks;
    step = std::max(step, result.milliseconds);
  }
  std::string line = fmt::format("overlap_comm {:<5}  step {:7.1f} ms  collectives {:7.1f} ms  waited {:7.1f} ms",
                                 overlap, step, work, wait);
  if (c.offload_param) line += fmt::format("  for uploads {:.1f} ms", upload);
  write_stdout(line + "\n");
  return wait;
}

void write_trace(const Case& c, const std::vector<Result>& results) {
  std::int64_t origin = results.front().slices.front().begin_ns;
  for (const Result& result : results) {
    for (const TraceSlice& slice : result.slices) origin = std::min(origin, slice.begin_ns);
  }
  std::vector<std::string> events;
  for (int rank = 0; rank < c.ranks; ++rank) {
    events.push_back(
        trace_events(rank, fmt::format("rank {}", rank), results[static_cast<std::size_t>(rank)].slices, origin));
  }
  AtomicFile file(c.trace);
  file.write(trace_document(events));
  file.commit();
  write_stdout(fmt::format("trace {} (open it in ui.perfetto.dev)\n", c.trace));
}

int run(int argc, char** argv) {
  Case c;
  CLI::App app("What overlap_comm saves behind a slow network");
  app.add_option("--ranks", c.ranks, "ranks, as threads")->check(CLI::Range(2, 64))->capture_default_str();
  app.add_option("--stage", c.stage, "ZeRO stage")->check(CLI::Range(1, 3))->capture_default_str();
  app.add_option("--steps", c.steps, "measured steps")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--layers", c.layers, "blocks of the model")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--hidden", c.hidden, "its width, a multiple of 8")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--tokens", c.tokens, "of a rank's pass")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--delay", c.delay_ms, "milliseconds that a collective takes at least")->capture_default_str();
  app.add_flag("--offload-param", c.offload_param, "weights in host memory (stage 3)");
  app.add_option("--trace", c.trace, "file for the timeline with overlap_comm");
  CLI11_PARSE(app, argc, argv);
  write_stdout(fmt::format("stage {}, {} ranks, {} blocks of width {}, {} tokens, {:g} ms a collective\n", c.stage,
                           c.ranks, c.layers, c.hidden, c.tokens, c.delay_ms));
  const double without = print(c, false, run_ranks(c, false));
  const std::vector<Result> results = run_ranks(c, true);
  const double with = print(c, true, results);
  write_stdout(
      fmt::format("the computation waits {:.0f} % of the time that it waits without\n", 100.0 * with / without));
  if (!c.trace.empty()) write_trace(c, results);
  return 0;
}

}  // namespace
}  // namespace llama_zero::bench

int main(int argc, char** argv) {
  try {
    return llama_zero::bench::run(argc, argv);
  } catch (const std::exception& error) {
    llama_zero::log::error("{}", error.what());
    return 1;
  }
}
