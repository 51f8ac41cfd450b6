// Checkpoints of a run that goes on: training stops while every rank copies its shard to host memory; a thread of each
// rank writes the copy to disk; once all ranks have written, rank 0 completes the checkpoint.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "launcher/run_folder.h"
#include "launcher/run_position.h"
#include "launcher/runtime.h"
#include "launcher/train_setup.h"
#include "zero/engine.h"

namespace llama_zero {

class CheckpointSaver {
 public:
  /// Everything must outlive the saver. At most `keep` checkpoints stay; 0: all. `tune_table`: text of the tune file
  /// that goes along; empty: none.
  CheckpointSaver(const TrainSetup& setup, Engine& engine, const Runtime& runtime, const RunFolder& folder,
                  std::int64_t keep, std::string tune_table);
  /// Waits for a write under way, whose checkpoint then stays incomplete.
  ~CheckpointSaver();
  CheckpointSaver(const CheckpointSaver&) = delete;
  CheckpointSaver& operator=(const CheckpointSaver&) = delete;

  /// Collective; no step may be under way. Begins to save, after the save before it has been completed. Where the host
  /// has no memory for a copy, training stops until the shard is on disk. Throws AgreedError that names file, reason
  /// and what is left when it cannot be written; so do the others.
  void save(const RunPosition& position);
  /// Collective, and cheap while nothing is being saved: completes a save that every rank has written.
  void poll();
  /// Collective: completes the save under way, if there is one.
  void finish();

  bool saving() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace llama_zero
