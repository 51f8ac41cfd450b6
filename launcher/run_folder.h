// The folder of a run: resolved config, metrics.jsonl, summary.json, final model.
#pragma once

#include <string>
#include <string_view>

#include "core/files.h"

namespace llama_zero {

class RunFolder {
 public:
  /// An existing folder, e.g. one that rank 0 has made.
  explicit RunFolder(fs::path path) : path_(std::move(path)) {}

  /// Makes the folder of a run and proves that it can be written: a full path of the user (`output`, also one that
  /// exists), else runs/<name>, else runs/<default_name>-N with the smallest N >= 1 that is free. Throws Error naming
  /// the path.
  static RunFolder create(const std::string& output, const std::string& name, const std::string& default_name);

  const fs::path& path() const { return path_; }
  fs::path config() const { return path_ / "config.json"; }
  fs::path metrics() const { return path_ / "metrics.jsonl"; }
  fs::path summary() const { return path_ / "summary.json"; }
  fs::path final_model() const { return path_ / "final"; }
  fs::path checkpoints() const { return path_ / "checkpoints"; }
  /// Whether an earlier run left its metrics here; they are about to be replaced.
  bool used_before() const { return fs::exists(metrics()); }

 private:
  fs::path path_;
};

/// A name fit for a folder: letters, digits, '.', '_' and '-'; anything else becomes '-'. Paths give their last part.
std::string folder_name(std::string_view text);

}  // namespace llama_zero
