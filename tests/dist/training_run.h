// A short training run of a small Llama on rank-threads, and everything that can be compared about it.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/pass.h"
#include "zero/engine.h"

namespace llama_zero::test {

/// Hidden 64, grouped queries, vocabulary 509: nothing divides evenly among 3 ranks.
LlamaConfig small_llama(bool tied, std::int64_t layers = 2);

/// The passes of one rank for step `step`: the same 12 documents at any rank count, dealt out row by row.
std::vector<Pass> passes_of(int step, int rank, int ranks, int passes_per_rank);
/// The same with RunOptions::weighted.
std::vector<Pass> weighted_passes_of(int step, int rank, int ranks, int passes_per_rank);
/// Loss tokens of all ranks' passes of a step.
std::int64_t loss_tokens_of(int step);

std::vector<ScheduleRow> default_schedule();

struct RunOptions {
  int stage = 0;
  int ranks = 1;
  DType dtype = DType::kF32;
  DType grad_dtype = DType::kF32;
  int passes_per_rank = 1;
  int steps = 5;
  bool tied = false;
  bool weighted = false;  ///< documents' losses count 1, 2, 3, 1, 2, ... of a pass
  GradientAveraging averaging;
  LossScalerConfig scaler;
  OptimizerOptions optimizer{.kind = OptimizerKind::kAdamW, .eps = 1e-8, .weight_decay = 0.1};
  std::vector<ScheduleRow> schedule;  ///< empty: a warm-up and decay with betas 0.9, 0.95
  /// What else engine_options sets.
  std::function<void(EngineOptions&)> change;
  /// Set for one rank (default: none): what its gradient hook does.
  int hooked_rank = -1;
  Engine::GradientHook hook;
};

/// What one rank saw.
struct RankRecord {
  std::vector<double> losses;
  std::vector<StepState> states;
  std::vector<std::vector<float>> weights;  ///< by unit, as the model sees them after the last step
  std::vector<std::vector<float>> masters;  ///< by unit
  MemoryReport memory, host;
  MemoryPlan plan;
  std::int64_t gathered_peak = 0;
};

/// All defaults of tests: clipping active, lr > 0 from the first step, no unit but norms persistent, one unit ahead.
EngineOptions engine_options(const RunOptions& run);

/// The result of a step that went well; throws Error with its failure, or when there is none.
StepResult checked(std::optional<StepResult> result);

/// An engine on this thread, its arena exactly as large as planned for the largest pass, its memory poisoned.
class TestRank {
 public:
  TestRank(const RunOptions& run, const EngineOptions& options, Communicator& communicator, std::int64_t layers = 2);

  StepResult step(int number);

  ParamTable table;
  MemoryPlan plan;
  std::unique_ptr<Device> device;
  std::unique_ptr<Ops> ops;
  Arena arena, workspace;
  Engine engine;

 private:
  RunOptions run_;
  int rank_;
};

/// Runs on `ranks` threads and returns the ranks' records.
std::vector<RankRecord> train(const RunOptions& run);

/// Empty when losses, norms, scales, weights and masters of two runs are the same bit for bit on every rank they
/// share; else what differs first. NaN differs from everything.
std::string first_difference(const std::vector<RankRecord>& a, const std::vector<RankRecord>& b);

}  // namespace llama_zero::test
