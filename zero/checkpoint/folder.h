// The checkpoints of a run as folders: begun under a temporary name, completed by a rename, found again, thinned out.
//
//   <root>/step-00000120/            complete: has a manifest, and everything that it names
//   <root>/step-00000120.partial/    being written, or left by a crash; never read
//   <root>/latest                    text: the name of the newest complete one
//
// One process (rank 0) calls the functions that change folders; all ranks write their own shard into a partial one.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/files.h"
#include "zero/checkpoint/manifest.h"

namespace llama_zero {

class CheckpointRoot {
 public:
  explicit CheckpointRoot(fs::path path) : path_(std::move(path)) {}

  const fs::path& path() const { return path_; }
  fs::path folder(std::int64_t step) const;
  fs::path partial(std::int64_t step) const;

  /// An empty partial folder for `step`. Removes what crashes have left, of this step and others.
  void begin(std::int64_t step) const;
  /// Writes a further file into the partial folder and returns its entry for the manifest.
  CheckpointManifest::FileEntry add_file(std::int64_t step, const std::string& name, std::string_view content) const;
  /// Completes `step`: manifest, rename, `latest`. A complete checkpoint of the same step is replaced. A crash at any
  /// instant leaves either the old state of the root or the new one. Then keeps the newest `keep` (0: all).
  void complete(const CheckpointManifest& manifest, std::int64_t keep) const;
  /// Removes the partial folder of `step`, as well as it can.
  void discard(std::int64_t step) const noexcept;

  /// Steps of complete checkpoints, ascending. Only names and the manifest's presence are looked at.
  std::vector<std::int64_t> steps() const;
  /// The folder to resume from: what `latest` names, or, should that be missing or gone, the newest complete one.
  std::optional<fs::path> latest() const;

 private:
  void retain(std::int64_t keep, std::int64_t newest) const;

  fs::path path_;
};

/// A complete checkpoint opened for reading, by any number of ranks. Each reads only what it asks for.
class CheckpointReader {
 public:
  /// `folder`: one checkpoint. Throws Error naming the file and what is wrong with it; damage inside the values is
  /// found when they are read.
  explicit CheckpointReader(fs::path folder);

  const CheckpointManifest& manifest() const { return manifest_; }
  const fs::path& folder() const { return folder_; }
  /// Index of a state, or -1.
  int state(std::string_view name) const;
  /// Elements [begin, begin + out.size()) of a unit, unpadded. Not for several threads at once.
  void read(int unit, int state, std::int64_t begin, std::span<float> out);
  /// Content of a further file, checked against the manifest. Throws Error when the manifest has none of that name.
  std::string file(std::string_view name) const;
  bool has_file(std::string_view name) const;
  /// Reads everything and compares every checksum.
  void verify_all();

 private:
  ShardReader& shard(int rank);

  fs::path folder_;
  CheckpointManifest manifest_;
  ShardMap map_;
  std::vector<std::optional<ShardReader>> shards_;  ///< opened when first needed
};

/// What `--resume` means: a checkpoint's folder, a folder of checkpoints, or a run's folder (its "checkpoints" folder).
/// Throws Error naming what was looked for.
fs::path find_checkpoint(const fs::path& path);

}  // namespace llama_zero
