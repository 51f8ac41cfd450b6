// Going on from a checkpoint: at any rank count, stage, offload setting and device; exact to the bit at the same mesh.
#pragma once

#include <memory>
#include <string>

#include "launcher/run_folder.h"
#include "launcher/run_position.h"
#include "launcher/runtime.h"
#include "launcher/train_setup.h"
#include "zero/checkpoint/folder.h"
#include "zero/engine.h"

namespace llama_zero {

/// A checkpoint that fits the run. Each rank has it open and reads what it needs of it.
struct ResumePoint {
  std::unique_ptr<CheckpointReader> reader;
  RunPosition position;
  std::int64_t last_samples = 0;  ///< x of its last point in the monitors: steps times the batch size it had then
};

/// Collective. Opens what `llama_zero.resume` names ("latest": the run that `output` or `run_name` says, else the
/// newest under runs/), refuses another model, optimizer or tokenizer with AgreedError, prints what differs from the
/// config it was saved with, and moves the loader to the next row.
ResumePoint open_resume(TrainSetup& setup, const HostGroup& group);

/// Collective. Weights, optimizer states and step state of the checkpoint.
void restore_engine(ResumePoint& point, Engine& engine, const HostGroup& group);

/// The folder of the run that `checkpoint` belongs to, or nothing when it lies elsewhere.
std::optional<fs::path> run_of_checkpoint(const fs::path& checkpoint);

/// Lines "key: old -> new" for what differs between two resolved configs and may change the numbers of a run.
std::vector<std::string> config_differences(std::string_view before, std::string_view now);

}  // namespace llama_zero
