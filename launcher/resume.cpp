#include "launcher/resume.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>

#include "core/log.h"
#include "launcher/config.h"
#include "launcher/data_position.h"
#include "model/config_json.h"
#include "model/printable.h"

namespace llama_zero {
namespace {

using Json = nlohmann::ordered_json;

// What only decides where things lie, how they are shown, or how fast they go.
constexpr std::string_view kWithoutEffect[] = {
    "llama_zero.output",
    "llama_zero.run_name",
    "llama_zero.resume",
    "llama_zero.save_interval",
    "llama_zero.keep",
    "llama_zero.export",
    "llama_zero.export_dtype",
    "llama_zero.max_shard_size",
    "llama_zero.eval_data",
    "llama_zero.trace",
    "llama_zero.trace_steps",
    "llama_zero.collective_timeout",
    "zero_optimization.overlap_comm",
    "zero_optimization.stage3_prefetch_bucket_size",
    "zero_optimization.stage3_param_persistence_threshold",
    "zero_optimization.stage3_model_persistence_threshold",
    "zero_optimization.stage3_max_live_parameters",
    "zero_optimization.stage3_max_reuse_distance",
    "zero_optimization.offload_param",
    "tensorboard",
    "csv_monitor",
    "steps_per_print",
    "wall_clock_breakdown",
    "memory_breakdown",
    "dump_state",
    "log_level",
    "flops_profiler",
    "comms_logger",
    "timers",
    "wandb",
    "comet",
    "checkpoint",
};

bool without_effect(std::string_view key) {
  return std::any_of(std::begin(kWithoutEffect), std::end(kWithoutEffect), [&](std::string_view name) {
    return key == name || (key.starts_with(name) && key[name.size()] == '.');
  });
}

void flatten(const Json& json, const std::string& path, std::map<std::string, std::string>& leaves) {
  if (!json.is_object()) {
    leaves[path] = json.dump();
    return;
  }
  for (const auto& [key, value] : json.items()) flatten(value, path.empty() ? key : path + "." + key, leaves);
}

std::map<std::string, std::string> leaves_of(std::string_view text) {
  std::map<std::string, std::string> leaves;
  const Json json = Json::parse(text, nullptr, false);
  if (json.is_object()) flatten(json, "", leaves);
  return leaves;
}

std::string listed(const std::vector<std::string>& names) {
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "" : ", ") + name;
  return list;
}

fs::path newest_run() {
  std::error_code error;
  fs::path newest;
  fs::file_time_type time;
  for (fs::directory_iterator entry("runs", error), end; !error && entry != end; entry.increment(error)) {
    const std::optional<fs::path> latest = CheckpointRoot(entry->path() / "checkpoints").latest();
    if (!latest) continue;
    const auto written = fs::last_write_time(*latest / CheckpointManifest::kFileName);
    if (newest.empty() || written > time) {
      newest = *latest;
      time = written;
    }
  }
  require(!newest.empty(), "--resume latest: no run under runs/ has a complete checkpoint");
  return newest;
}

fs::path checkpoint_of(const RunSection& run) {
  if (run.resume != "latest") return find_checkpoint(run.resume);
  if (!run.output.empty()) return find_checkpoint(run.output);
  if (!run.run_name.empty()) return find_checkpoint(fs::path("runs") / run.run_name);
  return newest_run();
}

void check_model(const CheckpointReader& reader, const TrainSetup& setup) {
  const CheckpointManifest& manifest = reader.manifest();
  const std::string name = reader.folder().string();
  std::vector<CheckpointManifest::UnitEntry> units;
  for (const Unit& unit : setup.table->units()) units.push_back({unit.name, unit.numel});
  const HfConfig stored = parse_config_json(reader.file("model.json"), name + "/model.json");
  const bool same = manifest.units == units &&
                    format_config_json({stored.model, {}}) == format_config_json({setup.model.config.model, {}});
  require(same, "{} is of another model than {}: give --model what it was trained from", name, setup.model.name);
  require(manifest.optimizer == setup.config.optimizer.type,
          "{} was trained with optimizer {}, the config says {}: their states do not fit", name,
          printable(manifest.optimizer), setup.config.optimizer.type);
}

/// train_batch_size of a resolved config, or `otherwise`.
std::int64_t batch_size_of(std::string_view config, std::int64_t otherwise) {
  const auto leaves = leaves_of(config);
  const auto found = leaves.find("train_batch_size");
  const std::int64_t size = found == leaves.end() ? 0 : std::strtoll(found->second.c_str(), nullptr, 10);
  return size > 0 ? size : otherwise;
}

// Neither number can be trusted.
std::int64_t samples_of(std::int64_t steps, std::int64_t batch_size) {
  constexpr std::int64_t kMost = std::int64_t{1} << 60;
  return steps <= kMost / batch_size ? steps * batch_size : kMost;
}

void move_loader(const RunPosition& position, const RunPosition& now, TrainSetup& setup) {
  if (position.data_hash != now.data_hash) {
    log::warning("the data are not those of the checkpoint: they are read from their beginning");
    return;
  }
  const std::int64_t batch = setup.loader_options.global_batch;
  if (position.row_in_epoch % batch != 0) {
    log::warning("train_batch_size differs from the checkpoint's: {} rows of this epoch are seen again",
                 position.row_in_epoch % batch);
  }
  setup.loader->restore({position.epoch, position.row_in_epoch / batch});
}

}  // namespace

std::optional<fs::path> run_of_checkpoint(const fs::path& checkpoint) {
  const fs::path root = fs::absolute(checkpoint).lexically_normal().parent_path();
  if (root.filename() != "checkpoints") return std::nullopt;
  return root.parent_path();
}

std::vector<std::string> config_differences(std::string_view before, std::string_view now) {
  const auto old_leaves = leaves_of(before);
  auto leaves = leaves_of(now);
  for (const auto& [key, value] : old_leaves) leaves.try_emplace(key, "absent");
  std::vector<std::string> lines;
  for (const auto& [key, value] : leaves) {
    const auto found = old_leaves.find(key);
    const std::string& old_value = found == old_leaves.end() ? std::string("absent") : found->second;
    if (old_value != value && !without_effect(key)) lines.push_back(fmt::format("{}: {} -> {}", key, old_value, value));
  }
  return lines;
}

ResumePoint open_resume(TrainSetup& setup, const HostGroup& group) {
  ResumePoint point;
  group.together([&] {
    point.reader = std::make_unique<CheckpointReader>(checkpoint_of(setup.config.run));
    check_model(*point.reader, setup);
    const CheckpointManifest& manifest = point.reader->manifest();
    const std::string origin = point.reader->folder().string();
    point.position = parse_run_position(manifest.run, origin);
    RunPosition now;
    describe_data(now, setup, {});
    require(point.position.tokenizer_hash == now.tokenizer_hash,
            "{} was trained with another tokenizer than {}: give --tokenizer {}/tokenizer.model", origin,
            setup.tokenizer->path().string(), origin);
    move_loader(point.position, now, setup);
    log::info("resume    {}, step {}, saved by {} rank{} at stage {}", origin, manifest.step, manifest.ranks(),
              manifest.ranks() == 1 ? "" : "s", manifest.stage);
    const std::string config = point.reader->file("config.json");
    point.last_samples = samples_of(point.position.steps, batch_size_of(config, setup.config.batch.train_batch_size));
    for (const std::string& line : config_differences(config, resolved_json(setup.config))) {
      log::info("          differs: {}", line);
    }
  });
  return point;
}

void restore_engine(ResumePoint& point, Engine& engine, const HostGroup& group) {
  CheckpointReader& reader = *point.reader;
  group.together([&] {
    const std::vector<std::string> names = engine.state_names();
    require(names == reader.manifest().states, "{} has the states {}, this run's optimizer has {}",
            reader.folder().string(), printable(listed(reader.manifest().states)), listed(names));
  });
  engine.load_states(
      [&](int unit, int state, std::int64_t begin, std::span<float> out) { reader.read(unit, state, begin, out); },
      reader.manifest().step_state);
}

}  // namespace llama_zero
