// Which model a run works on: a preset with random weights, or a Hugging Face folder.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/dtype.h"
#include "core/files.h"
#include "data/tokenizer.h"
#include "model/config.h"
#include "model/config_json.h"

namespace llama_zero {

struct ModelSource {
  std::string name;       ///< as the user gave it, "tiny" when nothing was given
  bool imported = false;  ///< weights come from `folder`
  fs::path folder;        ///< of an imported model
  HfConfig config;        ///< shape; for an imported model also its stored dtype and its BOS and EOS
  double preset_learning_rate = 0.0;
};

/// `model` is a preset name (empty: "tiny") or a folder with a config.json. Throws Error that lists the presets when it
/// is neither.
ModelSource find_model(const std::string& model);

/// The tokenizer of a run: `given`, else tokenizer.model of an imported model's folder, else the bundled one.
fs::path find_tokenizer(const std::string& given, const ModelSource& model);

/// Fits the model to tokenizer and sequence length. A randomly initialised model takes the tokenizer's vocabulary, BOS
/// and EOS, and at least `sequence_length` positions; what was changed is returned as notes for the header. An imported
/// model stays as it is: throws Error when its vocabulary or its positions do not reach, naming both numbers.
std::vector<std::string> fit_model(ModelSource& model, const Tokenizer& tokenizer, std::int64_t sequence_length);

}  // namespace llama_zero
