// The end of a training run: loss on other data, final model, summary.
#pragma once

#include <optional>

#include "core/arena.h"
#include "launcher/model_transfer.h"
#include "launcher/plan_case.h"
#include "launcher/run_folder.h"
#include "launcher/runtime.h"
#include "launcher/train_loop.h"
#include "launcher/train_setup.h"
#include "zero/engine.h"

namespace llama_zero {

/// Collective. Mean loss over all rows of the run's eval data; nothing when it has none.
std::optional<double> evaluate_at_end(TrainSetup& setup, Engine& engine);

/// Storage of the exported model: llama_zero.export_dtype, "auto": that of the training.
DType export_dtype_of(const TrainConfig& config);

/// Collective. Writes the fp32 masters, rounded to llama_zero.export_dtype, to folder.final_model() as a Hugging Face
/// folder in files of at most llama_zero.max_shard_size, gathering one unit at a time on rank 0.
ModelTransfer export_final_model(const TrainSetup& setup, Engine& engine, const Runtime& runtime,
                                 const RunFolder& folder);

/// Logs steps, time, speed, losses, padding, the account of communication and the memory by label, planned and
/// measured. Rank 0 only.
void print_summary(const TrainSetup& setup, const TrainTotals& totals, std::optional<double> eval_loss,
                   const MemoryForecast& measured, const RunFolder& folder,
                   const std::optional<ModelTransfer>& exported);

}  // namespace llama_zero
