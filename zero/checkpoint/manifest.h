// The manifest of a checkpoint: the file that makes it exist. Written last; JSON with a checksum over itself.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/files.h"
#include "kernels/step_state.h"
#include "zero/checkpoint/shard_file.h"
#include "zero/checkpoint/shard_map.h"

namespace llama_zero {

struct CheckpointManifest {
  static constexpr int kVersion = 1;
  static constexpr std::string_view kFileName = "manifest.json";

  struct UnitEntry {
    std::string name;
    std::int64_t numel = 0;
    bool operator==(const UnitEntry&) const = default;
  };
  struct FileEntry {
    std::string name;  ///< inside the checkpoint's folder, no path
    std::uint64_t bytes = 0;
    std::uint64_t hash = 0;  ///< XXH3-64 of the content
  };

  std::int64_t step = 0;
  int stage = 0;                    ///< of the run that wrote it; nothing depends on it
  std::string optimizer;            ///< "AdamW"
  std::vector<std::string> states;  ///< "master" first
  std::vector<UnitEntry> units;
  StepState step_state;
  std::vector<ShardSummary> shards;  ///< by rank
  std::vector<FileEntry> files;      ///< config, tune file, ...
  std::string run;                   ///< JSON object of the program: data position, seeds, fingerprints

  int ranks() const { return static_cast<int>(shards.size()); }
  ShardMap shard_map() const;
};

/// "shard-00003-of-00008.bin".
std::string shard_file_name(int rank, int ranks);

std::string manifest_text(const CheckpointManifest& manifest);
/// Throws Error naming `path` and what is wrong. Safe on hostile input.
CheckpointManifest parse_manifest(std::string_view text, const fs::path& path);

}  // namespace llama_zero
