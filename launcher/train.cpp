#include "launcher/train.h"

#include <fmt/format.h>

#include <cstdlib>
#include <optional>

#include "core/arena.h"
#include "core/log.h"
#include "launcher/plan_case.h"
#include "launcher/progress.h"
#include "launcher/driver_memory.h"
#include "launcher/run_folder.h"
#include "launcher/stop_signal.h"
#include "launcher/train_finish.h"
#include "launcher/train_header.h"
#include "launcher/train_loop.h"
#include "launcher/train_setup.h"
#include "model/hf_folder.h"

namespace llama_zero {
namespace {

// Rank 0 makes the folder and writes the config as it was understood; the others learn its path.
RunFolder open_run_folder(const TrainSetup& setup, const HostGroup& group) {
  std::string path;
  group.on_root([&] {
    const RunSection& run = setup.config.run;
    const std::string name = fmt::format("{}-zero{}", folder_name(setup.model.name), setup.config.zero.stage);
    const RunFolder folder = RunFolder::create(run.output, run.run_name, name);
    path = folder.path().string();
    if (folder.used_before()) log::info("{:<10}{} holds an earlier run, which is replaced", "note", path);
    AtomicFile config(folder.config());
    config.write(resolved_json(setup.config));
    config.commit();
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

void set_weights(const TrainSetup& setup, Engine& engine, const HostGroup& group) {
  if (!setup.model.imported) {
    engine.initialise(setup.config.run.seed);
    return;
  }
  std::optional<HfFolder> folder;
  group.together([&] { folder.emplace(setup.model.folder); });
  engine.load_weights([&](int unit, std::int64_t begin, std::span<float> out) { folder->read(unit, begin, out); });
}

int train(TrainSetup& setup, Runtime& runtime) {
  const HostGroup& group = runtime.group();
  const RunFolder folder = open_run_folder(setup, group);
  const StopSignal signal;
  Arena arena(runtime.device(), with_workspace(setup.plan).peak_bytes, runtime.device().description(), arena_options());
  give_workspace(runtime.ops(), setup.plan.workspace_bytes, arena);
  Engine engine(*setup.table, setup.engine, runtime.device(), runtime.ops(), runtime.communicator(), arena);
  set_weights(setup, engine, group);
  const TrainTotals totals = run_training(setup, engine, arena, runtime, folder, signal);
  const std::optional<double> eval_loss = evaluate_at_end(setup, engine);
  const MemoryReport measured = arena.report();
  export_final_model(setup, engine, runtime, folder);
  print_summary(setup, totals, eval_loss, measured, folder);
  print_driver_memory(setup.plan, runtime);
  if (!totals.failure.empty()) throw AgreedError(totals.failure);
  return 0;
}

}  // namespace

int run_train(const TrainArguments& arguments, MpiWorld& world) {
  const HostGroup group(world.rank(), world.size());
  ConfigFile file;
  group.together([&] { file = load_config(arguments.config, arguments.flags); });
  Runtime runtime(world, {file.run.device, file.run.attention, file.run.communicator});
  TrainSetup setup = prepare_training(file, runtime);
  if (arguments.print_config) {
    if (runtime.rank() == 0) write_stdout(print_resolved(setup.config));
    return 0;
  }
  print_header(setup, runtime);
  if (arguments.plan) return 0;
  group.together([&] { check_fits(setup, runtime); });
  return train(setup, runtime);
}

}  // namespace llama_zero
