// A rank whose streams are threads and whose collectives run beside the computation.
#pragma once

#include <memory>

#include "core/worker_device.h"
#include "kernels/streamed_ops.h"
#include "training_run.h"
#include "zero/streamed_communicator.h"

namespace llama_zero::test {

class WorkerRank {
 public:
  /// `inner` works at once: rank threads. The arena poisons only when asked to: it waits for all streams then.
  WorkerRank(const RunOptions& run, const EngineOptions& options, Communicator& inner, Network network, bool poison,
             std::int64_t layers = 2)
      : table(small_llama(run.tied, layers)),
        plan(plan_memory(table, options, *make_cpu_ops(1), inner.rank(), inner.size(), passes(run, 0, inner.rank()))),
        device(make_worker_device()),
        cpu_ops(make_cpu_ops(1)),
        ops(make_streamed_ops(*cpu_ops)),
        communicator(make_streamed_communicator(*device, inner, std::move(network))),
        // Passes of later steps may be a little larger than the planned ones.
        arena(*device, 2 * plan.arena.peak_bytes, "test", Arena::Options{poison}),
        workspace(*device, 2 * plan.workspace_bytes + Arena::kAlignment, "workspace"),
        engine(std::make_unique<Engine>(table, options, *device, *ops, *communicator, arena)),
        run_(run),
        rank_(inner.rank()) {
    ops->set_workspace(
        workspace.allocate("workspace", DType::kU8, static_cast<std::int64_t>(2 * plan.workspace_bytes)));
    engine->initialise(1234);
  }

  static std::vector<Pass> passes(const RunOptions& run, int step, int rank) {
    return passes_of(step, rank, run.ranks, run.passes_per_rank);
  }

  StepResult step(int number) {
    engine->train_step(passes(run_, number, rank_), static_cast<double>(loss_tokens_of(number)));
    return checked(engine->drain());
  }

  ParamTable table;
  MemoryPlan plan;
  std::unique_ptr<Device> device;
  std::unique_ptr<Ops> cpu_ops, ops;
  std::unique_ptr<Communicator> communicator;
  Arena arena, workspace;
  std::unique_ptr<Engine> engine;

 private:
  RunOptions run_;
  int rank_;
};

/// What train(run) gives, on streams that are threads, where an event that is missing lets work run too early.
inline std::vector<RankRecord> train_on_workers(const RunOptions& run, bool poison) {
  std::vector<RankRecord> records(static_cast<std::size_t>(run.ranks));
  run_rank_threads(run.ranks, [&](Communicator& communicator) {
    WorkerRank rank(run, engine_options(run), communicator, nullptr, poison);
    RankRecord& record = records[static_cast<std::size_t>(communicator.rank())];
    for (int step = 0; step < run.steps; ++step) {
      const StepResult result = rank.step(step);
      record.losses.push_back(result.loss);
      record.states.push_back(result.state);
    }
    for (int unit = 0; unit < rank.table.unit_count(); ++unit) {
      rank.engine->gather_weights(unit, record.weights.emplace_back());
      rank.engine->gather_master(unit, record.masters.emplace_back());
    }
  });
  return records;
}

}  // namespace llama_zero::test
