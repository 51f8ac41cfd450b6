// The training engine: one rank's part of ZeRO data-parallel training (Rajbhandari et al., "ZeRO: Memory Optimizations
// Toward Training Trillion Parameter Models", SC 2020, section 5).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "core/arena.h"
#include "core/device.h"
#include "core/pass.h"
#include "kernels/ops.h"
#include "model/param_table.h"
#include "model/transformer.h"
#include "zero/communicator.h"

namespace llama_zero {

struct AdamWOptions {
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0.0;
};

struct EngineOptions {
  int stage = 0;                         ///< 0: plain data parallel; 1, 2, 3: ZeRO
  DType dtype = DType::kF32;             ///< weights and activations
  DType grad_accum_dtype = DType::kF32;  ///< gradients, at every stage
  LossScalerConfig scaler;               ///< check_overflow and dynamic for fp16
  double gradient_clipping = 0.0;        ///< <= 0: off
  AdamWOptions adamw;
  std::vector<ScheduleRow> schedule;  ///< row s - 1 for applied update s; the last row repeats
  TransformerOptions transformer;     ///< its dtype is set from `dtype`
  std::int64_t max_positions = 0;
  // Stage 3, in elements (DeepSpeed's stage3_* keys).
  std::int64_t param_persistence_threshold = 100000;
  std::int64_t prefetch_bucket_size = 50000000;
  std::int64_t reduce_bucket_size = 500000000;
};

/// One optimizer step as the log reports it.
struct StepResult {
  double loss = 0.0;  ///< mean over the loss tokens of the global batch
  StepState state;    ///< after the step
  std::int64_t loss_tokens = 0;
};

class Engine {
 public:
  /// Collective. Memory comes from `arena` (labels "weights", "gradients", "optimizer", "leases", "buckets", ...). All
  /// references must outlive the engine.
  Engine(const ParamTable& table, const EngineOptions& options, Device& device, Ops& ops, Communicator& communicator,
         Arena& arena);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  /// Weights from the counter RNG; moments zero. The same at any rank count and stage.
  void initialise(std::uint64_t seed);

  /// Fills the masters of this rank's elements: `read(unit, begin, out)` gives fp32 elements [begin, begin +
  /// out.size()) of the unpadded unit. Moments become zero.
  using UnitReader = std::function<void(int unit, std::int64_t begin, std::span<float> out)>;
  void load_weights(const UnitReader& read);

  /// Collective: one optimizer step. Every rank gives the same number of passes; `global_loss_tokens` counts the loss
  /// tokens of all ranks' passes.
  StepResult train_step(std::span<const Pass> passes, std::int64_t global_loss_tokens);

  /// Collective: sum of losses over all ranks' passes (same number on each), weights unchanged.
  double evaluate(std::span<const Pass> passes);

  /// Collective: fp32 master values of a whole unit (unpadded) to `out` on every rank; `out` may be empty on ranks that
  /// do not want them.
  void gather_master(int unit, std::vector<float>& out);
  /// Collective, the same for the model's copy of the weights (widened to fp32).
  void gather_weights(int unit, std::vector<float>& out);

  ParamSource& params();
  const StepState& last_state() const;

  /// Tests: called with (unit, this rank's gradient) when a unit is committed, before its reduction.
  using GradientHook = std::function<void(int unit, View gradient)>;
  void set_gradient_hook(GradientHook hook);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

/// Peak of arena and workspace for one step, found by running it on the null device: nothing is allocated, no GPU
/// needed.
struct MemoryPlan {
  MemoryReport arena;
  std::size_t workspace_bytes = 0;
  std::size_t total_bytes() const { return arena.peak_bytes + workspace_bytes; }
};
/// `sizing` answers the workspace sizes of the backend that will run. `passes` is the largest step that will come.
MemoryPlan plan_memory(const ParamTable& table, const EngineOptions& options, const Ops& sizing, int rank, int ranks,
                       std::span<const Pass> passes);

}  // namespace llama_zero
