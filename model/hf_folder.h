// A model as a folder in Hugging Face's format: config.json, model.safetensors, tokenizer.model.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "core/files.h"
#include "model/config_json.h"
#include "model/param_table.h"
#include "model/safetensors.h"

namespace llama_zero {

/// Puts all fp32 values of a unit into `out` (resized to Unit::numel). Called once for each unit, 0 first, so one unit
/// is in memory at a time; where it is collective, the other ranks make the same calls.
using UnitGatherer = std::function<void(int unit, std::vector<float>& out)>;

struct HfExportOptions {
  /// Weights of more bytes than this go into several files with an index; a file holds one tensor at least.
  std::int64_t max_shard_bytes = 5'000'000'000;
  /// The folder that the model came from (empty: none): its generation_config.json goes along, and with its own
  /// tokenizer the tokenizer's other files.
  fs::path source;
};

/// Writes what LlamaForCausalLM.from_pretrained loads: config.json, generation_config.json, and the weights in
/// info.torch_dtype as model.safetensors, or model-00001-of-0000N.safetensors .. and model.safetensors.index.json. With
/// a `tokenizer_model` (empty: none) also tokenizer.model and tokenizer_config.json. Creates the folder; weight files
/// of an earlier export there are removed. Each file appears whole or not at all; config.json comes last. Holds one
/// unit at a time.
void write_hf_folder(const fs::path& folder, const ParamTable& table, const HfModelInfo& info,
                     const fs::path& tokenizer_model, const UnitGatherer& gather, const HfExportOptions& options = {});

/// A folder opened for reading: model.safetensors, or several files with model.safetensors.index.json.
class HfFolder {
 public:
  /// Checks config.json and every tensor's presence, shape and dtype; no weight is read yet. Throws Error naming file
  /// and tensor; a folder that has pytorch_model.bin only is refused with the way to convert it.
  explicit HfFolder(const fs::path& folder);

  const HfConfig& config() const { return config_; }
  const ParamTable& table() const { return table_; }
  const fs::path& path() const { return folder_; }
  /// Of all weight files.
  std::int64_t weight_bytes() const;

  /// fp32 elements [begin, begin + out.size()) of a unit in ParamTable's layout: Q, K, V and gate, up are put together.
  /// Any range, so that a rank reads its shard alone. May be called from several threads.
  void read(int unit, std::int64_t begin, std::span<float> out) const;

 private:
  void open_files();
  void open_index(const fs::path& index);
  void add_file(const fs::path& path);
  void check_tensors() const;
  void check_tied_head() const;
  const SafetensorsFile& file_of(const std::string& tensor) const;

  fs::path folder_;
  HfConfig config_;
  ParamTable table_;
  std::vector<SafetensorsFile> files_;
  std::map<std::string, std::size_t> file_index_;  ///< tensor name -> index into files_
};

}  // namespace llama_zero
