// The training engine: one rank's part of ZeRO data-parallel training (Rajbhandari et al., "ZeRO: Memory Optimizations
// Toward Training Trillion Parameter Models", SC 2020, section 5).
//
// At a given rank count losses and weights are bit-identical across stages 0 to 3 when a step is one pass; with several
// passes stages 0 and 1 agree bit for bit, and so do 2 and 3.
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
#include "model/replicated_params.h"
#include "model/transformer.h"
#include "zero/communicator.h"
#include "zero/optimizer.h"

namespace llama_zero {

struct EngineOptions {
  int stage = 0;                         ///< 0: plain data parallel; 1, 2, 3: ZeRO
  DType dtype = DType::kF32;             ///< weights and activations
  DType grad_accum_dtype = DType::kF32;  ///< gradients, at every stage
  LossScalerConfig scaler;               ///< check_overflow: skip steps that are not finite; dynamic: fp16
  double gradient_clipping = 0.0;        ///< <= 0: off
  AdamWOptions adamw;
  std::vector<ScheduleRow> schedule;  ///< row s - 1 for applied update s; the last row repeats
  std::vector<Betas> betas;           ///< the same for schedules that cycle momentum; empty: those of `adamw`
  TransformerOptions transformer;     ///< its dtype is set from `dtype`
  std::int64_t max_positions = 0;
  // In elements (DeepSpeed's keys; the first two are stage3_* there).
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
  /// Collective. Memory comes from `arena`: labels "weights", "gradients", "optimizer", "leases" (units gathered at
  /// stage 3), "buckets" (gradients in flight), "staging", "step state". It is given back on destruction. All
  /// references must outlive the engine. Throws Error for options that cannot be.
  Engine(const ParamTable& table, const EngineOptions& options, Device& device, Ops& ops, Communicator& communicator,
         Arena& arena);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  /// Collective. Weights from the counter RNG; moments zero. The same at any rank count and stage.
  void initialise(std::uint64_t seed);

  /// Collective. Fills the masters of this rank's elements: `read(unit, begin, out)` gives fp32 elements [begin, begin
  /// + out.size()) of the unpadded unit. Moments become zero.
  using UnitReader = llama_zero::UnitReader;
  void load_weights(const UnitReader& read);

  /// Collective: one optimizer step. Every rank gives the same number of passes, at least one; `global_loss_tokens`
  /// counts the loss tokens of all ranks' passes. Throws Error, on every rank, when a step overflows with the loss
  /// scale already at its minimum; the message names the first parameter whose gradient is not finite.
  StepResult train_step(std::span<const Pass> passes, std::int64_t global_loss_tokens);

  /// Collective: sum of losses over all ranks' passes (same number on each), weights unchanged.
  double evaluate(std::span<const Pass> passes);

  /// Collective: fp32 master values of a whole unit (unpadded) to `out` on every rank for which `wanted` holds.
  void gather_master(int unit, std::vector<float>& out, bool wanted = true);
  /// Collective, the same for the model's copy of the weights as this rank's model sees them (widened to fp32).
  void gather_weights(int unit, std::vector<float>& out);

  ParamSource& params();
  const StepState& last_state() const;
  /// Stage 3: highest number of elements gathered at once; 0 for other stages.
  std::int64_t gathered_elements_peak() const;

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
