#include <utility>

#include "core/error.h"
#include "model/hf_folder.h"

namespace llama_zero {
namespace {

void write_text(const fs::path& path, const std::string& text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

/// Hugging Face's tensors in the order of the table: a slice of a parameter's rows each.
std::vector<TensorSpec> tensor_specs(const ParamTable& table) {
  std::vector<TensorSpec> specs;
  for (const Param& param : table.params()) {
    for (const HfSlice& slice : param.hf) specs.push_back({slice.name, param.hf_shape(slice)});
  }
  return specs;
}

void write_weights(const fs::path& path, const ParamTable& table, DType dtype, const UnitGatherer& gather) {
  SafetensorsWriter writer(path, tensor_specs(table), dtype);
  std::vector<float> values;
  for (int unit = 0; unit < table.unit_count(); ++unit) {
    const Unit& description = table.units()[static_cast<std::size_t>(unit)];
    gather(unit, values);
    require(static_cast<std::int64_t>(values.size()) == description.numel,
            "{}: unit '{}' has {} elements, {} were gathered", path.string(), description.name, description.numel,
            values.size());
    // Parameters follow each other without gaps, and so do the row slices of each: the unit is its tensors' bytes in
    // order.
    writer.append(values);
  }
  writer.finish();
}

}  // namespace

void write_hf_folder(const fs::path& folder, const ParamTable& table, const HfModelInfo& info,
                     const fs::path& tokenizer_model, const UnitGatherer& gather) {
  create_folder(folder);
  write_weights(folder / "model.safetensors", table, info.torch_dtype, gather);
  if (!tokenizer_model.empty()) {
    const MappedFile tokenizer(tokenizer_model);
    AtomicFile copy(folder / "tokenizer.model");
    copy.write(tokenizer.bytes());
    copy.commit();
    write_text(folder / "tokenizer_config.json", format_tokenizer_config_json(table.config().max_position_embeddings));
  }
  write_text(folder / "generation_config.json", format_generation_config_json(info));
  write_text(folder / "config.json", format_config_json({table.config(), info}));
}

}  // namespace llama_zero
