#include "zero/checkpoint/manifest.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "model/printable.h"

namespace llama_zero {
namespace {

using Json = nlohmann::ordered_json;

// Far above any model or cluster, far below what would exhaust memory while a manifest is read.
constexpr std::int64_t kMostRanks = 1 << 20;
constexpr std::int64_t kMostElements = std::int64_t{1} << 45;
constexpr std::size_t kMostStates = 16;

std::string hex(std::uint64_t value) { return fmt::format("{:016x}", value); }

Json json_of(const StepState& state) {
  return {{"loss_scale", state.loss_scale},        {"hysteresis_left", state.hysteresis_left},
          {"iteration", state.iteration},          {"last_overflow", state.last_overflow},
          {"applied_steps", state.applied_steps},  {"skipped_steps", state.skipped_steps},
          {"skips_in_a_row", state.skips_in_a_row}};
}

Json json_of(const CheckpointManifest& manifest) {
  Json json;
  json["format"] = "llama_zero checkpoint";
  json["version"] = CheckpointManifest::kVersion;
  json["step"] = manifest.step;
  json["stage"] = manifest.stage;
  json["optimizer"] = manifest.optimizer;
  json["states"] = manifest.states;
  json["step_state"] = json_of(manifest.step_state);
  json["run"] = manifest.run.empty() ? Json::object() : Json::parse(manifest.run);
  json["units"] = Json::array();
  for (const auto& unit : manifest.units) json["units"].push_back({{"name", unit.name}, {"numel", unit.numel}});
  json["shards"] = Json::array();
  for (const auto& shard : manifest.shards) {
    json["shards"].push_back({{"bytes", shard.bytes}, {"seal", hex(shard.seal)}});
  }
  json["files"] = Json::array();
  for (const auto& file : manifest.files) {
    json["files"].push_back({{"name", file.name}, {"bytes", file.bytes}, {"hash", hex(file.hash)}});
  }
  return json;
}

/// Reads fields and says which one is wrong.
class Fields {
 public:
  Fields(const Json& json, const fs::path& path, std::string where)
      : json_(json), path_(path), where_(std::move(where)) {
    require(json.is_object(), "{}: {} is no object", path_.string(), where_);
  }

  const Json& at(const char* key) const {
    const auto found = json_.find(key);
    if (found == json_.end()) wrong(key, "is missing");
    return *found;
  }
  const Json& list(const char* key, std::size_t most) const {
    const Json& value = at(key);
    if (!value.is_array() || value.size() > most) wrong(key, fmt::format("is no list of at most {} entries", most));
    return value;
  }
  std::int64_t integer(const char* key, std::int64_t least, std::int64_t most) const {
    const Json& value = at(key);
    const bool fits = value.is_number_integer() &&
                      (!value.is_number_unsigned() || value.get<std::uint64_t>() <= static_cast<std::uint64_t>(most));
    if (!fits || value.get<std::int64_t>() < least || value.get<std::int64_t>() > most) {
      wrong(key, fmt::format("is no integer from {} to {}", least, most));
    }
    return value.get<std::int64_t>();
  }
  std::string text(const char* key) const {
    const Json& value = at(key);
    if (!value.is_string()) wrong(key, "is no string");
    return value.get<std::string>();
  }
  double number(const char* key) const {
    const Json& value = at(key);
    if (!value.is_number()) wrong(key, "is no number");
    return value.get<double>();
  }
  std::uint64_t hash(const char* key) const {
    const std::string digits = text(key);
    const bool hexadecimal = digits.size() == 16 && digits.find_first_not_of("0123456789abcdef") == std::string::npos;
    if (!hexadecimal) wrong(key, "is no checksum of 16 hexadecimal digits");
    return std::stoull(digits, nullptr, 16);
  }
  const fs::path& path() const { return path_; }
  std::uint64_t bytes() const {
    return static_cast<std::uint64_t>(integer("bytes", 0, std::numeric_limits<std::int64_t>::max()));
  }

 private:
  [[noreturn]] void wrong(const char* key, const std::string& what) const {
    fail("{}: {}\"{}\" {}", path_.string(), where_.empty() ? std::string() : where_ + ", ", key, what);
  }

  const Json& json_;
  const fs::path& path_;
  std::string where_;
};

StepState step_state_of(const Fields& fields) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
  StepState state;
  const double scale = fields.number("loss_scale");
  require(scale >= 0.0 && scale <= std::numeric_limits<float>::max(), "{}: its loss scale is no fp32 number from 0",
          fields.path().string());
  state.loss_scale = static_cast<float>(scale);
  state.used_loss_scale = state.loss_scale;
  state.hysteresis_left =
      static_cast<std::int32_t>(fields.integer("hysteresis_left", 0, std::numeric_limits<std::int32_t>::max()));
  state.iteration = fields.integer("iteration", 0, kMost);
  state.last_overflow = fields.integer("last_overflow", -1, kMost);
  state.applied_steps = fields.integer("applied_steps", 0, kMost);
  state.skipped_steps = fields.integer("skipped_steps", 0, kMost);
  state.skips_in_a_row =
      static_cast<std::int32_t>(fields.integer("skips_in_a_row", 0, std::numeric_limits<std::int32_t>::max()));
  return state;
}

// A name that could lead out of the folder would let a manifest read any file of the machine.
std::string checked_name(const std::string& name, const fs::path& path) {
  const bool plain =
      !name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos && printable(name) == name;
  require(plain, "{}: \"{}\" is no file name", path.string(), printable(name));
  return name;
}

void read_lists(CheckpointManifest& manifest, const Fields& fields, const fs::path& path) {
  for (const Json& state : fields.list("states", kMostStates)) {
    require(state.is_string(), "{}: \"states\" has something else than names", path.string());
    manifest.states.push_back(state.get<std::string>());
  }
  std::int64_t total = 0;
  for (const Json& entry : fields.list("units", 1 << 20)) {
    const Fields unit(entry, path, fmt::format("unit {}", manifest.units.size()));
    manifest.units.push_back({unit.text("name"), unit.integer("numel", 1, kMostElements)});
    total += manifest.units.back().numel;
    require(total <= kMostElements, "{}: its units have more than {} elements", path.string(), kMostElements);
  }
  for (const Json& entry : fields.list("shards", kMostRanks)) {
    const Fields shard(entry, path, fmt::format("shard {}", manifest.shards.size()));
    manifest.shards.push_back({shard.bytes(), shard.hash("seal")});
  }
  for (const Json& entry : fields.list("files", 1 << 10)) {
    const Fields file(entry, path, fmt::format("file {}", manifest.files.size()));
    manifest.files.push_back({checked_name(file.text("name"), path), file.bytes(), file.hash("hash")});
  }
  require(!manifest.states.empty() && manifest.states.front() == "master", "{}: its first state is not \"master\"",
          path.string());
  require(!manifest.units.empty() && !manifest.shards.empty(), "{} names no units or no shards", path.string());
}

}  // namespace

ShardMap CheckpointManifest::shard_map() const {
  std::vector<std::int64_t> numels;
  for (const UnitEntry& unit : units) numels.push_back(unit.numel);
  return {std::move(numels), static_cast<int>(states.size()), ranks()};
}

std::string shard_file_name(int rank, int ranks) { return fmt::format("shard-{:05}-of-{:05}.bin", rank, ranks); }

std::string manifest_text(const CheckpointManifest& manifest) {
  Json json = json_of(manifest);
  json["checksum"] = hex(hash_text(json.dump()));
  return json.dump(1) + "\n";
}

CheckpointManifest parse_manifest(std::string_view text, const fs::path& path) {
  Json json = Json::parse(text, nullptr, false);
  require(json.is_object(), "{} is no manifest of a checkpoint: it is not a JSON object", path.string());
  const Fields fields(json, path, "");
  require(fields.text("format") == "llama_zero checkpoint", "{} is no manifest of a llama_zero checkpoint",
          path.string());
  const std::int64_t version = fields.integer("version", 0, std::numeric_limits<std::int32_t>::max());
  require(version == CheckpointManifest::kVersion,
          "{} has format version {}, this program reads version {}: use the program that wrote it", path.string(),
          version, CheckpointManifest::kVersion);
  const std::uint64_t checksum = fields.hash("checksum");
  CheckpointManifest manifest;
  manifest.step = fields.integer("step", 0, std::numeric_limits<std::int64_t>::max());
  manifest.stage = static_cast<int>(fields.integer("stage", 0, 3));
  manifest.optimizer = fields.text("optimizer");
  manifest.step_state = step_state_of(Fields(fields.at("step_state"), path, "step_state"));
  require(fields.at("run").is_object(), "{}: \"run\" is no object", path.string());
  manifest.run = fields.at("run").dump();
  read_lists(manifest, fields, path);
  json.erase("checksum");
  require(hash_text(json.dump()) == checksum, "{} is damaged: its checksum does not match its content", path.string());
  return manifest;
}

}  // namespace llama_zero
