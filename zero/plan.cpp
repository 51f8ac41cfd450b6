#include "kernels/planning_ops.h"
#include "zero/engine.h"

namespace llama_zero {

MemoryPlan plan_memory(const ParamTable& table, const EngineOptions& options, const Ops& sizing, int rank, int ranks,
                       std::span<const Pass> passes) {
  const auto device = make_null_device();
  const auto communicator = make_null_communicator(rank, ranks);
  PlanningOps ops(sizing);
  Arena arena(*device, 0, "plan");
  MemoryReport host;
  {
    Engine engine(table, options, *device, ops, *communicator, arena);
    engine.train_step(passes, 1.0);
    host = engine.host_memory();
  }
  return {arena.report(), host, ops.largest_workspace()};
}

}  // namespace llama_zero
