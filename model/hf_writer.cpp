#include <algorithm>
#include <array>
#include <memory>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "core/error.h"
#include "model/hf_folder.h"

namespace llama_zero {
namespace {

constexpr const char* kIndexFile = "model.safetensors.index.json";

void write_text(const fs::path& path, const std::string& text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

void copy_whole(const fs::path& from, const fs::path& to) {
  const MappedFile content(from);
  AtomicFile copy(to);
  copy.write(content.bytes());
  copy.commit();
}

bool has_file(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

/// One weight file and the tensors it holds, in the order of the table.
struct Shard {
  std::string name;
  std::vector<TensorSpec> tensors;
  std::int64_t bytes = 0;
};

/// Fills files in order: a tensor that would lead beyond `limit` starts the next.
std::vector<Shard> plan_shards(const ParamTable& table, DType dtype, std::int64_t limit) {
  std::vector<Shard> shards(1);
  for (const Param& param : table.params()) {
    for (const HfSlice& slice : param.hf) {
      TensorSpec tensor{slice.name, param.hf_shape(slice)};
      const std::int64_t bytes = tensor.numel() * static_cast<std::int64_t>(size_of(dtype));
      if (!shards.back().tensors.empty() && bytes > limit - shards.back().bytes) shards.emplace_back();
      shards.back().bytes += bytes;
      shards.back().tensors.push_back(std::move(tensor));
    }
  }
  for (std::size_t i = 0; i < shards.size(); ++i) {
    shards[i].name = shards.size() == 1 ? "model.safetensors"
                                        : fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size());
  }
  return shards;
}

/// Takes tensors in the order of the plan and moves from file to file.
class ShardWriter {
 public:
  ShardWriter(const fs::path& folder, const std::vector<Shard>& shards, DType dtype)
      : folder_(folder), shards_(shards), dtype_(dtype) {}

  void append(std::span<const float> tensor) {
    const Shard& shard = shards_.at(shard_);
    if (!writer_) writer_ = std::make_unique<SafetensorsWriter>(folder_ / shard.name, shard.tensors, dtype_);
    writer_->append(tensor);
    if (++tensor_ < shard.tensors.size()) return;
    writer_->finish();
    writer_.reset();
    tensor_ = 0;
    ++shard_;
  }

 private:
  const fs::path& folder_;
  const std::vector<Shard>& shards_;
  DType dtype_;
  std::unique_ptr<SafetensorsWriter> writer_;
  std::size_t shard_ = 0, tensor_ = 0;
};

void write_weights(const fs::path& folder, const ParamTable& table, DType dtype, const std::vector<Shard>& shards,
                   const UnitGatherer& gather) {
  ShardWriter writer(folder, shards, dtype);
  std::vector<float> values;
  for (int unit = 0; unit < table.unit_count(); ++unit) {
    const Unit& description = table.units()[static_cast<std::size_t>(unit)];
    gather(unit, values);
    require(static_cast<std::int64_t>(values.size()) == description.numel,
            "{}: unit '{}' has {} elements, {} were gathered", folder.string(), description.name, description.numel,
            values.size());
    for (const int index : description.params) {
      const Param& param = table.params()[static_cast<std::size_t>(index)];
      for (const HfSlice& slice : param.hf) {
        const auto begin = static_cast<std::size_t>(param.offset + slice.row_begin * param.columns);
        writer.append(std::span(values).subspan(begin, static_cast<std::size_t>(slice.rows * param.columns)));
      }
    }
  }
}

void write_index(const fs::path& folder, const std::vector<Shard>& shards) {
  nlohmann::ordered_json index;
  std::int64_t total = 0;
  auto& files = index["weight_map"];
  for (const Shard& shard : shards) {
    total += shard.bytes;
    for (const TensorSpec& tensor : shard.tensors) files[tensor.name] = shard.name;
  }
  index["metadata"]["total_size"] = total;
  write_text(folder / kIndexFile, index.dump(2) + "\n");
}

bool is_weight_file(std::string_view name) {
  return name == kIndexFile || name == "model.safetensors" ||
         (name.starts_with("model-") && name.ends_with(".safetensors") && name.find("-of-") != std::string_view::npos);
}

/// Weight files of an earlier export would be read instead of the new ones, or be dead weight.
void remove_other_weights(const fs::path& folder, const std::vector<Shard>& shards) {
  std::vector<fs::path> others;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    const bool current = std::ranges::any_of(shards, [&](const Shard& shard) { return shard.name == name; }) ||
                         (shards.size() > 1 && name == kIndexFile);
    if (is_weight_file(name) && !current) others.push_back(entry.path());
  }
  for (const fs::path& path : others) {
    std::error_code error;
    fs::remove(path, error);
    require(!error, "cannot remove {}: {}", path.string(), error.message());
  }
}

// A checkpoint has a copy of its own.
bool same_content(const fs::path& a, const fs::path& b) {
  std::error_code error;
  if (!fs::is_regular_file(a, error) || !fs::is_regular_file(b, error)) return false;
  const MappedFile one(a);
  const MappedFile other(b);
  return one.text() == other.text();
}

void write_tokenizer(const fs::path& folder, const fs::path& tokenizer_model, std::int64_t max_positions,
                     const fs::path& source) {
  if (tokenizer_model.empty()) return;
  copy_whole(tokenizer_model, folder / "tokenizer.model");
  write_text(folder / "tokenizer_config.json", format_tokenizer_config_json(max_positions));
  if (source.empty() || !same_content(tokenizer_model, source / "tokenizer.model")) return;
  for (const char* name : {"tokenizer_config.json", "tokenizer.json", "special_tokens_map.json", "added_tokens.json",
                           "chat_template.jinja"}) {
    if (has_file(source / name)) copy_whole(source / name, folder / name);
  }
}

void write_generation_config(const fs::path& folder, const HfModelInfo& info, const fs::path& source) {
  constexpr const char* kName = "generation_config.json";
  if (!source.empty() && has_file(source / kName)) {
    copy_whole(source / kName, folder / kName);
  } else {
    write_text(folder / kName, format_generation_config_json(info));
  }
}

}  // namespace

void write_hf_folder(const fs::path& folder, const ParamTable& table, const HfModelInfo& info,
                     const fs::path& tokenizer_model, const UnitGatherer& gather, const HfExportOptions& options) {
  require(options.max_shard_bytes > 0, "{}: a weight file of at most {} bytes holds nothing", folder.string(),
          options.max_shard_bytes);
  create_folder(folder);
  const std::vector<Shard> shards = plan_shards(table, info.torch_dtype, options.max_shard_bytes);
  write_weights(folder, table, info.torch_dtype, shards, gather);
  if (shards.size() > 1) write_index(folder, shards);
  remove_other_weights(folder, shards);
  write_tokenizer(folder, tokenizer_model, table.config().max_position_embeddings, options.source);
  write_generation_config(folder, info, options.source);
  write_text(folder / "config.json", format_config_json({table.config(), info}));
}

}  // namespace llama_zero
