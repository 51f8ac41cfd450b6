#include "launcher/export_command.h"

#include <fmt/format.h>

#include "core/log.h"
#include "launcher/byte_size.h"
#include "launcher/loaded_model.h"
#include "launcher/run_position.h"
#include "model/config_json.h"
#include "model/hf_folder.h"
#include "zero/checkpoint/folder.h"

namespace llama_zero {
namespace {

void check_units(const CheckpointReader& reader, const ParamTable& table) {
  std::vector<CheckpointManifest::UnitEntry> units;
  for (const Unit& unit : table.units()) units.push_back({unit.name, unit.numel});
  require(reader.manifest().units == units, "{}: its units are not those of its model.json", reader.folder().string());
}

void export_checkpoint(const ExportArguments& arguments) {
  CheckpointReader reader(find_checkpoint(arguments.checkpoint));
  const std::string name = reader.folder().string();
  const HfConfig config = parse_config_json(reader.file("model.json"), name + "/model.json");
  const ParamTable table(config.model);
  check_units(reader, table);
  reader.file("tokenizer.model");  // compared with the manifest before it is copied
  HfModelInfo info = config.info;
  if (!arguments.dtype.empty()) info.torch_dtype = parse_storage_dtype(arguments.dtype);
  HfExportOptions options;
  // What the model came with goes along while its folder is there; else what is missing is generated.
  const fs::path source = parse_run_position(reader.manifest().run, name).model_folder;
  std::error_code error;
  if (!source.empty() && fs::is_directory(source, error)) options.source = source;
  options.max_shard_bytes = parse_byte_size(arguments.max_shard_size, "--max-shard-size");
  write_hf_folder(
      arguments.output, table, info, reader.folder() / "tokenizer.model",
      [&](int unit, std::vector<float>& out) {
        out.resize(static_cast<std::size_t>(table.units()[static_cast<std::size_t>(unit)].numel));
        reader.read(unit, 0, 0, out);
      },
      options);
  log::info("step {} of {} as {}: {}", reader.manifest().step, name, name_of(info.torch_dtype),
            arguments.output.string());
}

}  // namespace

int run_export(const ExportArguments& arguments, const HostGroup& group) {
  group.on_root([&] { export_checkpoint(arguments); });
  return 0;
}

}  // namespace llama_zero
