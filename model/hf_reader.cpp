#include <simdjson.h>

#include <algorithm>
#include <set>
#include <string_view>

#include "core/error.h"
#include "model/hf_folder.h"
#include "model/json_fields.h"

namespace llama_zero {
namespace {

constexpr const char* kSingleFile = "model.safetensors";
constexpr const char* kIndexFile = "model.safetensors.index.json";
constexpr std::size_t kMaxIndexBytes = std::size_t{100} << 20U;
constexpr const char* kHeadTensor = "lm_head.weight";

/// Old exports store RoPE's frequencies, which are no weights: they follow from rope_theta.
bool is_derived(std::string_view tensor) {
  constexpr std::string_view kSuffix = ".rotary_emb.inv_freq";
  return tensor.size() > kSuffix.size() && tensor.substr(tensor.size() - kSuffix.size()) == kSuffix;
}

/// False also for what cannot be looked at: opening it says why.
bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

/// A name without folders, and without characters that would end it early or break a message's line.
bool is_file_name(std::string_view name) {
  return !name.empty() && fs::path(name).filename() == name && printable(name) == name;
}

std::string format_shape(const std::vector<std::int64_t>& shape) {
  std::string text;
  for (const std::int64_t size : shape) text += (text.empty() ? "" : ", ") + std::to_string(size);
  return "[" + text + "]";
}

}  // namespace

HfFolder::HfFolder(const fs::path& folder)
    : folder_(folder), config_(read_config_json(folder / "config.json")), table_(config_.model) {
  open_files();
  check_tensors();
}

void HfFolder::open_files() {
  if (is_there(folder_ / kIndexFile)) {
    open_index(folder_ / kIndexFile);
  } else if (is_there(folder_ / kSingleFile)) {
    add_file(folder_ / kSingleFile);
  } else if (is_there(folder_ / "pytorch_model.bin") || is_there(folder_ / "pytorch_model.bin.index.json")) {
    fail(
        "{}: has pytorch_model.bin but no model.safetensors; convert it: "
        "AutoModelForCausalLM.from_pretrained(folder).save_pretrained(folder, safe_serialization=True)",
        folder_.string());
  } else {
    fail("{}: has neither {} nor {}", folder_.string(), kSingleFile, kIndexFile);
  }
}

void HfFolder::open_index(const fs::path& index) {
  const std::string origin = index.string();
  const MappedFile file(index);
  require(file.size() <= kMaxIndexBytes, "{}: {} bytes are too many for an index", origin, file.size());
  simdjson::dom::parser parser;
  simdjson::dom::object weight_map;
  const auto error = parser.parse(simdjson::padded_string(file.text()))["weight_map"].get(weight_map);
  require(error == simdjson::SUCCESS, "{}: no object 'weight_map': {}", origin, simdjson::error_message(error));
  std::map<std::string, std::string> promised;  // tensor -> file
  std::set<std::string_view> opened;
  for (const auto field : weight_map) {
    std::string_view name;
    require(field.value.get(name) == simdjson::SUCCESS && is_file_name(name),
            "{}: the file of tensor '{}' is no file name", origin, printable(field.key));
    const bool first = promised.emplace(field.key, name).second;
    require(first, "{}: tensor '{}' is there twice", origin, printable(field.key));
    if (opened.insert(name).second) add_file(folder_ / name);
  }
  for (const auto& [tensor, name] : promised) {
    const auto found = file_index_.find(tensor);
    require(found != file_index_.end() && files_[found->second].path() == folder_ / name,
            "{}: tensor '{}' is not in file {}, where the index puts it", origin, printable(tensor), name);
  }
}

void HfFolder::add_file(const fs::path& path) {
  files_.emplace_back(path);
  for (const auto& [name, tensor] : files_.back().tensors()) {
    const auto [place, added] = file_index_.emplace(name, files_.size() - 1);
    require(added, "{}: tensor '{}' is in {} too", path.string(), printable(name),
            files_[place->second].path().string());
  }
}

void HfFolder::check_tensors() const {
  std::map<std::string, bool> expected;
  for (const Param& param : table_.params()) {
    for (const HfSlice& slice : param.hf) {
      expected[slice.name] = true;
      const SafetensorsFile& file = file_of(slice.name);
      const SafetensorsFile::Tensor& tensor = file.find(slice.name);
      const std::vector<std::int64_t> shape = param.hf_shape(slice);
      require(tensor.shape == shape, "{}: tensor '{}' has shape {}, config.json makes it {}", file.path().string(),
              slice.name, format_shape(tensor.shape), format_shape(shape));
      file.read(slice.name, 0, {});  // refuses dtypes that are no weights
    }
  }
  for (const auto& [name, index] : file_index_) {
    if (expected.contains(name) || is_derived(name)) continue;
    if (name == kHeadTensor && config_.model.tie_word_embeddings) {
      check_tied_head();
      continue;
    }
    fail("{}: tensor '{}' does not belong to the model that config.json describes", files_[index].path().string(),
         printable(name));
  }
}

/// Some exports store a tied head although it is the embedding: that is harmless only when it is.
void HfFolder::check_tied_head() const {
  const SafetensorsFile::Tensor& head = file_of(kHeadTensor).find(kHeadTensor);
  const std::string embedding_name = table_.find(table_.embedding_unit(), "embed_tokens").hf.front().name;
  const SafetensorsFile::Tensor& embedding = file_of(embedding_name).find(embedding_name);
  require(head.dtype == embedding.dtype && std::ranges::equal(head.bytes, embedding.bytes),
          "{}: config.json ties word embeddings, but '{}' differs from '{}'", folder_.string(), kHeadTensor,
          embedding_name);
}

const SafetensorsFile& HfFolder::file_of(const std::string& tensor) const {
  const auto found = file_index_.find(tensor);
  require(found != file_index_.end(), "{}: tensor '{}' is missing", folder_.string(), tensor);
  return files_[found->second];
}

std::int64_t HfFolder::weight_bytes() const {
  std::int64_t bytes = 0;
  for (const SafetensorsFile& file : files_) {
    for (const auto& [name, tensor] : file.tensors()) bytes += std::ssize(tensor.bytes);
  }
  return bytes;
}

void HfFolder::read(int unit, std::int64_t begin, std::span<float> out) const {
  require(unit >= 0 && unit < table_.unit_count(), "{}: no unit {}", folder_.string(), unit);
  const Unit& description = table_.units()[static_cast<std::size_t>(unit)];
  const std::int64_t end = begin + static_cast<std::int64_t>(out.size());
  require(begin >= 0 && begin <= end && end <= description.numel, "{}: elements [{}, {}) of unit '{}', which has {}",
          folder_.string(), begin, end, description.name, description.numel);
  for (const int index : description.params) {
    const Param& param = table_.params()[static_cast<std::size_t>(index)];
    for (const HfSlice& slice : param.hf) {
      const std::int64_t tensor_begin = param.offset + slice.row_begin * param.columns;
      const std::int64_t from = std::max(begin, tensor_begin);
      const std::int64_t to = std::min(end, tensor_begin + slice.rows * param.columns);
      if (from >= to) continue;
      file_of(slice.name)
          .read(slice.name, from - tensor_begin,
                out.subspan(static_cast<std::size_t>(from - begin), static_cast<std::size_t>(to - from)));
    }
  }
}

}  // namespace llama_zero
