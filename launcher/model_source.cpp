#include "launcher/model_source.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"
#include "launcher/bundled.h"

namespace llama_zero {
namespace {

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

void require_fit(const ModelSource& model, const Tokenizer& tokenizer, std::int64_t sequence_length) {
  const LlamaConfig& config = model.config.model;
  require(
      tokenizer.vocab_size() <= config.vocab_size,
      "tokenizer {} has {} pieces, more than the vocabulary of {} of the model in {}; give the model's own tokenizer",
      tokenizer.path().string(), tokenizer.vocab_size(), config.vocab_size, model.folder.string());
  require(sequence_length <= config.max_position_embeddings,
          "sequence length {} is more than the {} positions (max_position_embeddings) of the model in {}",
          sequence_length, config.max_position_embeddings, model.folder.string());
}

}  // namespace

ModelSource find_model(const std::string& model) {
  ModelSource source;
  source.name = model.empty() ? "tiny" : model;
  const std::vector<std::string> presets = preset_names();
  if (std::ranges::find(presets, source.name) != presets.end()) {
    source.config.model = preset_config(source.name);
    source.preset_learning_rate = preset_learning_rate(source.name);
    return source;
  }
  source.folder = source.name;
  const fs::path config = source.folder / "config.json";
  std::error_code ignored;
  require(fs::exists(source.folder, ignored), "model '{}' is neither a preset ({}) nor an existing folder", source.name,
          joined(presets));
  require(fs::is_regular_file(config, ignored), "model folder {} has no config.json", source.name);
  source.imported = true;
  source.config = read_config_json(config);
  return source;
}

fs::path find_tokenizer(const std::string& given, const ModelSource& model) {
  if (!given.empty()) return given;
  if (!model.imported) return bundled_tokenizer();
  fs::path path = model.folder / "tokenizer.model";
  std::error_code ignored;
  if (fs::is_regular_file(path, ignored)) return path;
  require(
      !fs::exists(model.folder / "tokenizer.json", ignored),
      "model folder {} has tokenizer.json but no tokenizer.model, which is what is read here: take it from where the "
      "model came from, or give --tokenizer",
      model.folder.string());
  fail("model folder {} has no tokenizer.model; give --tokenizer", model.folder.string());
}

std::vector<std::string> fit_model(ModelSource& model, const Tokenizer& tokenizer, std::int64_t sequence_length) {
  if (model.imported) {
    require_fit(model, tokenizer, sequence_length);
    return {};
  }
  std::vector<std::string> notes;
  LlamaConfig& config = model.config.model;
  if (config.vocab_size != tokenizer.vocab_size()) {
    notes.push_back(fmt::format("vocabulary {} of the tokenizer instead of the preset's {}", tokenizer.vocab_size(),
                                config.vocab_size));
    config.vocab_size = tokenizer.vocab_size();
  }
  if (config.max_position_embeddings < sequence_length) {
    notes.push_back(fmt::format("positions raised from {} to the sequence length {}", config.max_position_embeddings,
                                sequence_length));
    config.max_position_embeddings = sequence_length;
  }
  model.config.info.bos_token_id = tokenizer.bos_id();
  model.config.info.eos_token_ids = {tokenizer.eos_id()};
  return notes;
}

}  // namespace llama_zero
