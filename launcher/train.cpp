#include "launcher/train.h"

#include <fmt/format.h>

#include <csignal>
#include <cstdlib>
#include <optional>

#include "core/arena.h"
#include "core/log.h"
#include "launcher/checkpoint_saver.h"
#include "launcher/comm_fault.h"
#include "launcher/driver_memory.h"
#include "launcher/model_transfer.h"
#include "launcher/monitor/run_monitor.h"
#include "launcher/plan_case.h"
#include "launcher/preflight.h"
#include "launcher/progress.h"
#include "launcher/resume.h"
#include "launcher/run_folder.h"
#include "launcher/run_summary.h"
#include "launcher/stop_signal.h"
#include "launcher/train_finish.h"
#include "launcher/train_header.h"
#include "launcher/train_loop.h"
#include "launcher/train_setup.h"
#include "launcher/tuned_products.h"
#include "model/hf_folder.h"

namespace llama_zero {
namespace {

void write_text_file(const fs::path& path, const std::string& text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

// A resumed run goes on in its own folder, unless it is told another.
RunSection where_to_write(const TrainSetup& setup, const std::optional<ResumePoint>& resumed) {
  RunSection run = setup.config.run;
  const auto own = resumed ? run_of_checkpoint(resumed->reader->folder()) : std::nullopt;
  if (own && run.output.empty() && run.run_name.empty()) run.output = own->string();
  return run;
}

/// The folder of a run that has no name yet lies in "runs".
fs::path folder_to_be(const RunSection& run) {
  return run.output.empty() ? fs::path("runs") / run.run_name : fs::path(run.output);
}

// Rank 0 makes the folder and writes the config as it was understood; the others learn its path.
RunFolder open_run_folder(const TrainSetup& setup, const std::optional<ResumePoint>& resumed, const HostGroup& group) {
  std::string path;
  group.on_root([&] {
    const RunSection run = where_to_write(setup, resumed);
    const std::string name = fmt::format("{}-zero{}", folder_name(setup.model.name), setup.config.zero.stage);
    const RunFolder folder = RunFolder::create(run.output, run.run_name, name);
    path = folder.path().string();
    if (folder.used_before() && !resumed) log::info("{:<10}{} holds an earlier run, which is replaced", "note", path);
    write_text_file(folder.config(), resolved_json(setup.config));
    log::info("{:<10}{}", "output", path);
  });
  return RunFolder(group.from_root(path));
}

Arena::Options arena_options() {
  const char* poison = std::getenv("LLAMA_ZERO_POISON");
  return {.poison = poison != nullptr && std::string_view(poison) == "1"};
}

void give_workspace(Ops& ops, std::size_t bytes, Arena& arena) {
  if (bytes > 0) ops.set_workspace(arena.allocate("workspace", DType::kU8, static_cast<std::int64_t>(bytes)));
}

std::int64_t host_bytes(const Arena& arena) {
  const bool on_host = arena.device().type() == DeviceType::kCpu;
  return on_host ? static_cast<std::int64_t>(arena.report().current_bytes) : 0;
}

/// How the model was imported, if it was.
std::optional<ModelTransfer> set_weights(const TrainSetup& setup, std::optional<ResumePoint>& resumed, Engine& engine,
                                         const Arena& arena, const HostGroup& group) {
  if (resumed) {
    restore_engine(*resumed, engine, group);
    resumed->reader.reset();
    return std::nullopt;
  }
  if (!setup.model.imported) {
    engine.initialise(setup.config.run.seed);
    return std::nullopt;
  }
  TransferMeter meter;
  std::optional<HfFolder> folder;
  group.together([&] { folder.emplace(setup.model.folder); });
  engine.load_weights(
      meter.watch([&](int unit, std::int64_t begin, std::span<float> out) { folder->read(unit, begin, out); }));
  const ModelTransfer transfer = meter.finish(folder->weight_bytes(), host_bytes(arena), group);
  log::info("{:<10}{}; {}", "import", describe_rate(transfer), describe_memory(transfer));
  return transfer;
}

/// How much longer than for a collective a rank waits for what another reads, writes or prepares.
constexpr double kWorkFactor = 12.0;

void apply_log_level(const std::string& level, const Runtime& runtime) {
  if (!level.empty()) log::configure(runtime.rank(), runtime.ranks(), log::parse_level(level));
}

// What was asked for is the training itself; what a checkpoint has need not be computed or written before the end.
int end_stopped(const TrainTotals& totals, const RunFolder& folder, const std::string& invocation, int ranks) {
  log::info("stopped   by {} after step {} of this run; go on with:", strsignal(totals.stop_signal), totals.steps);
  const std::string launcher = ranks > 1 ? fmt::format("mpirun -np {} ", ranks) : std::string();
  log::info("  {}{} --resume {}", launcher, invocation, folder.path().string());
  return 0;
}

int train(TrainSetup& setup, Runtime& runtime, const std::string& invocation) {
  const HostGroup& group = runtime.group();
  std::optional<ResumePoint> resumed;
  if (!setup.config.run.resume.empty()) resumed.emplace(open_resume(setup, group));
  const RunPosition start = resumed ? resumed->position : RunPosition{};
  preflight(setup, runtime, folder_to_be(where_to_write(setup, resumed)), start.steps);
  const RunFolder folder = open_run_folder(setup, resumed, group);
  const StopSignal signal;
  std::optional<RunMonitor> monitor;  // a file that cannot be written ends the run before anything is computed
  group.together([&] { monitor.emplace(setup, runtime, resumed ? LastSamples(resumed->last_samples) : std::nullopt); });
  const std::string tune_table = use_tuned_products(setup, runtime, folder, resumed ? resumed->reader.get() : nullptr);
  Arena arena(runtime.device(), with_workspace(setup.plan).peak_bytes, runtime.device().description(), arena_options());
  give_workspace(runtime.ops(), setup.plan.workspace_bytes, arena);
  Engine engine(*setup.table, setup.engine, runtime.device(), runtime.ops(), runtime.communicator(), arena);
  ModelTransfers transfers;
  transfers.imported = set_weights(setup, resumed, engine, arena, group);
  CheckpointSaver saver(setup, engine, runtime, folder, setup.config.run.keep, tune_table);
  const TrainTotals totals = run_training(setup, engine, arena, runtime, folder, signal, *monitor, saver, start);
  if (totals.stop_signal != 0) return end_stopped(totals, folder, invocation, runtime.ranks());
  const std::optional<double> eval_loss = evaluate_at_end(setup, engine);
  const MemoryForecast measured{arena.report(), engine.host_memory()};
  if (setup.config.run.export_model) transfers.exported = export_final_model(setup, engine, runtime, folder);
  print_summary(setup, totals, eval_loss, measured, folder, transfers.exported);
  if (runtime.rank() == 0) {
    write_text_file(folder.summary(), run_summary(setup, totals, eval_loss, measured, transfers,
                                                  runtime.describe_device(), runtime.ranks()));
  }
  print_driver_memory(setup.plan, runtime);
  if (!totals.failure.empty()) throw AgreedError(totals.failure);
  return 0;
}

}  // namespace

int run_train(const TrainArguments& arguments, MpiWorld& world) {
  const HostGroup group(world.rank(), world.size());
  ConfigFile file;
  group.together([&] { file = load_config(arguments.config, arguments.flags); });
  const double timeout = file.run.collective_timeout;
  Runtime runtime(world, {file.run.device, file.run.attention, file.run.communicator, timeout, kWorkFactor * timeout});
  const CommFault fault(runtime.communicator(), runtime.group());
  TrainSetup setup = prepare_training(file, runtime);
  apply_log_level(setup.config.monitor.log_level, runtime);
  if (arguments.print_config) {
    if (runtime.rank() == 0) write_stdout(print_resolved(setup.config));
    return 0;
  }
  print_header(setup, runtime);
  if (arguments.plan) return 0;
  group.together([&] { check_fits(setup, runtime); });
  return train(setup, runtime, arguments.invocation);
}

}  // namespace llama_zero
