// Checkpoints of made-up values: value i of (unit, state) at step s is a hash of all four.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/files.h"
#include "zero/checkpoint/folder.h"

namespace llama_zero::test {

inline const std::vector<std::int64_t> kUnitNumels{700, 64, 1, 129, 3000};
inline const std::vector<std::string> kStates{"master", "exp_avg", "exp_avg_sq"};

inline float made_up_value(std::int64_t step, int unit, int state, std::int64_t index) {
  const std::uint64_t key[] = {static_cast<std::uint64_t>(step), static_cast<std::uint64_t>(unit),
                               static_cast<std::uint64_t>(state), static_cast<std::uint64_t>(index)};
  return static_cast<float>(static_cast<std::int32_t>(hash_bytes(std::as_bytes(std::span(key))))) * 0x1p-20F;
}

inline CheckpointManifest made_up_manifest(std::int64_t step) {
  CheckpointManifest manifest;
  manifest.step = step;
  manifest.stage = 2;
  manifest.optimizer = "AdamW";
  manifest.states = kStates;
  for (std::size_t unit = 0; unit < kUnitNumels.size(); ++unit) {
    manifest.units.push_back({"unit " + std::to_string(unit), kUnitNumels[unit]});
  }
  manifest.step_state.loss_scale = 4096.0F;
  manifest.step_state.hysteresis_left = 2;
  manifest.step_state.iteration = step;
  manifest.step_state.applied_steps = step - 1;
  manifest.step_state.skipped_steps = 1;
  manifest.step_state.last_overflow = 0;
  manifest.run = R"({"epoch":1,"text":"é"})";
  return manifest;
}

inline ShardSummary write_made_up_shard(const fs::path& folder, std::int64_t step, int rank, int ranks) {
  const ShardMap map(kUnitNumels, static_cast<int>(kStates.size()), ranks);
  ShardWriter writer(folder / shard_file_name(rank, ranks), rank, ranks, map.elements(rank));
  for (int unit = 0; unit < map.unit_count(); ++unit) {
    const UnitPartition partition = map.partition(unit);
    for (int state = 0; state < map.state_count(); ++state) {
      std::vector<float> values;
      for (std::int64_t i = 0; i < partition.valid(rank); ++i) {
        values.push_back(made_up_value(step, unit, state, partition.begin(rank) + i));
      }
      writer.append(values);
    }
  }
  return writer.finish();
}

inline void save_made_up(const CheckpointRoot& root, std::int64_t step, int ranks, std::int64_t keep = 0) {
  CheckpointManifest manifest = made_up_manifest(step);
  root.begin(step);
  for (int rank = 0; rank < ranks; ++rank) {
    manifest.shards.push_back(write_made_up_shard(root.partial(step), step, rank, ranks));
  }
  manifest.files.push_back(root.add_file(step, "config.json", "{\"stage\": 2}\n"));
  root.complete(manifest, keep);
}

/// Whether every value, read as `ranks` other ranks would, is the one that was written.
inline bool holds_made_up_values(CheckpointReader& reader, int ranks) {
  const std::int64_t step = reader.manifest().step;
  for (int unit = 0; unit < static_cast<int>(kUnitNumels.size()); ++unit) {
    const UnitPartition partition(kUnitNumels[static_cast<std::size_t>(unit)], ranks);
    for (int rank = 0; rank < ranks; ++rank) {
      for (int state = 0; state < static_cast<int>(kStates.size()); ++state) {
        std::vector<float> values(static_cast<std::size_t>(partition.valid(rank)));
        reader.read(unit, state, partition.begin(rank), values);
        for (std::size_t i = 0; i < values.size(); ++i) {
          const std::int64_t index = partition.begin(rank) + static_cast<std::int64_t>(i);
          if (values[i] != made_up_value(step, unit, state, index)) return false;
        }
      }
    }
  }
  return true;
}

}  // namespace llama_zero::test
