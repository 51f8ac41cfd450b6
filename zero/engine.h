// The training engine: one rank's part of ZeRO data-parallel training (Rajbhandari et al., "ZeRO: Memory Optimizations
// Toward Training Trillion Parameter Models", SC 2020, section 5).
//
// At a given rank count losses and weights are bit-identical across stages 0 to 3 when a step is one pass; with several
// passes stages 0 and 1 agree bit for bit, and so do 2 and 3.
//
// The host runs one step ahead of the device. train_step gives the device all work of a step and does not wait for it:
// the decisions of a step (skip, clip, loss scale, learning rate) are taken on the device (kernels/step_state.h), its
// passes are copied to page-locked memory, its results come back by an asynchronous copy. What train_step returns is
// the result of the step *before* the one it was given: by then the host has waited for that one, while the device has
// the new one to work on. drain() returns the result of the last. A loop is therefore
//
//   for (...) if (auto result = engine.train_step(passes, weight)) report(*result);   // the step before
//   if (auto result = engine.drain()) report(*result);                                // the last
//
// and so before every stop, save or evaluation that needs to know the outcome of the step before it. Communicators that
// move data through host memory (MPI, threads) wait for the device on their own account.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/arena.h"
#include "core/device.h"
#include "core/pass.h"
#include "kernels/ops.h"
#include "model/param_table.h"
#include "model/replicated_params.h"
#include "model/transformer.h"
#include "zero/communicator.h"
#include "zero/gradient_averaging.h"
#include "zero/lease_plan.h"
#include "zero/offload.h"
#include "zero/optimizer.h"
#include "zero/partition.h"
#include "zero/step_observer.h"

namespace llama_zero {

struct EngineOptions {
  int stage = 0;                         ///< 0: plain data parallel; 1, 2, 3: ZeRO
  DType dtype = DType::kF32;             ///< weights and activations
  DType grad_accum_dtype = DType::kF32;  ///< gradients, at every stage
  GradientAveraging averaging;           ///< of the ranks' gradients
  LossScalerConfig scaler;               ///< check_overflow: skip steps that are not finite; dynamic: fp16
  double gradient_clipping = 0.0;        ///< <= 0: off
  OptimizerOptions optimizer;
  OptimizerOffload offload_optimizer;  ///< stages 1 to 3
  /// Stages 2 and 3: the passes of a step add up in full-size buffers and ranks at the boundary, as at stages 0 and 1,
  /// and with their bits: more memory, less communication.
  bool local_gradient_accumulation = false;
  std::vector<ScheduleRow> schedule;  ///< row s - 1 for applied update s; the last row repeats
  TransformerOptions transformer;     ///< its dtype is set from `dtype`
  std::int64_t max_positions = 0;
  /// Gathers and reductions run on a stream of their own, beside the computation; false: on its stream. Same numbers.
  bool overlap_comm = true;
  // In elements (DeepSpeed's keys; all but the last are stage3_* there: zero/lease_plan.h).
  std::int64_t param_persistence_threshold = 100000;
  std::int64_t prefetch_bucket_size = 50000000;
  std::int64_t model_persistence_threshold = kNoElementLimit;
  std::int64_t max_live_parameters = 1000000000;
  std::int64_t max_reuse_distance = 1000000000;
  std::int64_t reduce_bucket_size = 500000000;
  ParamOffload offload_param;  ///< stage 3 only
};

/// One optimizer step as the log reports it.
struct StepResult {
  double loss = 0.0;     ///< weighted mean over the loss tokens of the global batch
  StepState state;       ///< after the step; state.iteration is its number, from 1
  double seconds = 0.0;  ///< on the device, from the end of the step before (or from its own beginning, after a drain)
  /// Not empty: the run cannot go on (kernels/step_state.h, is_stopped). Says why, names the first parameter whose
  /// gradient is not finite, and advises. The weights are as before this step, moments and state too.
  std::string failure;
};

class Engine {
 public:
  /// Collective. Memory comes from `arena`: labels "weights", "gradients", "optimizer", "leases" (units gathered at
  /// stage 3), "buckets" and "gradients in flight" (of units being reduced or on their way to the host), "staging",
  /// "step state". It is given back on destruction. All references must outlive the engine. Throws Error for options
  /// that cannot be.
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

  /// Collective: gives the device one optimizer step and returns the result of the step before it, if there is one that
  /// has not been returned. Every rank gives the same number of passes, at least one; they may be reused at once.
  /// `loss_weight` is the sum of the weights of the loss tokens (core/pass.h) in all ranks' passes: what the loss and
  /// its gradient are divided by. When the result tells of a failure, the step given has had no effect, and further
  /// ones throw Error.
  std::optional<StepResult> train_step(std::span<const Pass> passes, double loss_weight);

  /// Collective: waits for the last step given and returns its result, unless it has been returned.
  std::optional<StepResult> drain();

  /// Collective: weighted sum of losses over all ranks' passes (same number on each), weights unchanged.
  double evaluate(std::span<const Pass> passes);

  /// Collective: fp32 master values of a whole unit (unpadded) to `out`, on every rank or on rank `root` alone; `out`
  /// stays as it is on the others.
  void gather_master(int unit, std::vector<float>& out, int root = kEveryRank);
  /// Collective, the same for the model's copy of the weights as this rank's model sees them (widened to fp32).
  void gather_weights(int unit, std::vector<float>& out);

  // What a checkpoint holds of this rank (zero/checkpoint). State 0 is the fp32 master, the others are the optimizer's.

  /// "master", then the optimizer's names, e.g. "exp_avg", "exp_avg_sq".
  std::vector<std::string> state_names() const;
  /// Copies values of this rank's shard of a unit, [begin, begin + out.size()) counted from the shard's first, padding
  /// not included, to the host, and waits for them. Of the last step given.
  void read_state(int unit, int state, std::int64_t begin, std::span<float> out);
  /// Collective: everything as a checkpoint had it. `read(unit, state, begin, out)` gives elements of the unpadded unit
  /// as load_weights' reader does. No step may be under way (drain).
  using StateReader = std::function<void(int unit, int state, std::int64_t begin, std::span<float> out)>;
  void load_states(const StateReader& read, const StepState& step_state);

  ParamSource& params();
  /// Of the last step whose result was returned.
  const StepState& last_state() const;
  /// Stage 3: highest number of elements gathered at once; 0 for other stages.
  std::int64_t gathered_elements_peak() const;
  /// Host memory by label, this rank's: "host optimizer", "host gradients", "host weights", "host activations".
  /// Empty without offloading.
  const MemoryReport& host_memory() const;

  /// `observer` follows every training step from now on; it must outlive the engine or be replaced. nullptr: none.
  void set_observer(StepObserver* observer);

  /// Tests: called with (unit, this rank's gradient) when a unit is committed, before its reduction.
  using GradientHook = std::function<void(int unit, View gradient)>;
  void set_gradient_hook(GradientHook hook);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

/// Peak of arena and workspace for one step, and the host memory, found by running it on the null device: nothing is
/// allocated, no GPU needed.
struct MemoryPlan {
  MemoryReport arena;
  MemoryReport host;  ///< what Engine::host_memory will say
  std::size_t workspace_bytes = 0;
  std::size_t total_bytes() const { return arena.peak_bytes + workspace_bytes; }
};
/// `sizing` answers the workspace sizes of the backend that will run. `passes` is the largest step that will come.
MemoryPlan plan_memory(const ParamTable& table, const EngineOptions& options, const Ops& sizing, int rank, int ranks,
                       std::span<const Pass> passes);

}  // namespace llama_zero
