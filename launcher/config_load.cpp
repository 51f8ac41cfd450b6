// Finding, reading and merging: the first of the config's two steps.
#include <fmt/format.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "core/error.h"
#include "launcher/config.h"
#include "launcher/config_resolve.h"
#include "launcher/config_values.h"
#include "launcher/json_document.h"

namespace llama_zero {
namespace {

constexpr std::string_view kBuiltIn = "built-in config";
constexpr std::string_view kEncoded = "base64 config";
constexpr std::string_view kBase64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void stamp(JsonValue& value, int line, const std::string& flag) {
  value.line = line;
  value.flag = flag;
  if (auto* object = std::get_if<JsonValue::Object>(&value.data)) {
    for (JsonValue::Member& member : *object) stamp(member.value, line, flag);
  }
  if (auto* array = std::get_if<JsonValue::Array>(&value.data)) {
    for (JsonValue& element : *array) stamp(element, line, flag);
  }
}

/// The override as a tree of its own, so that its names are made canonical before it meets the file's.
JsonValue tree_of(const ConfigOverride& item, std::vector<std::string>& warnings) {
  JsonValue value = item.verbatim ? JsonValue(item.value) : parse_json_value(item.value, item.flag);
  JsonValue tree(JsonValue::Object{});
  merge_at(tree, item.key, std::move(value));
  stamp(tree, 0, item.flag);
  canonicalise_names(tree, item.flag, warnings);
  return tree;
}

/// The text that a url-safe base64 argument holds, as DeepSpeed's launcher hands a config on; nothing when `argument`
/// is not the base64 of a text with an object in it.
std::optional<std::string> decode_config(std::string_view argument) {
  while (argument.ends_with('=')) argument.remove_suffix(1);
  std::string text;
  std::uint32_t bits = 0;
  int count = 0;
  for (const char c : argument) {
    const std::size_t digit = kBase64.find(c);
    if (digit == std::string_view::npos) return std::nullopt;
    bits = (bits << 6U | static_cast<std::uint32_t>(digit)) & 0xffffU;
    count += 6;
    if (count < 8) continue;
    count -= 8;
    text += static_cast<char>(bits >> static_cast<unsigned>(count) & 0xffU);
  }
  if (text.find('{') == std::string::npos || text.find('}') == std::string::npos) return std::nullopt;
  return text;
}

/// Empty: the argument is the config itself.
fs::path find_config(const fs::path& path) {
  std::error_code ignored;
  const std::array candidates = {path, "configs" / path, executable_folder() / "configs" / path};
  for (const fs::path& candidate : candidates) {
    if (fs::is_regular_file(candidate, ignored)) return candidate;
  }
  require(!fs::exists(path, ignored), "config {} is not a file", path.string());
  if (decode_config(path.string())) return {};
  if (path.is_absolute()) fail("config {} does not exist", path.string());
  fail("config {} does not exist; looked for {}, {} and {}", path.string(), candidates[0].string(),
       candidates[1].string(), candidates[2].string());
}

}  // namespace

ConfigOverride parse_set(std::string_view text) {
  const std::size_t equals = text.find('=');
  require(equals != std::string_view::npos && equals > 0, "--set {}: path.to.key=value expected", text);
  ConfigOverride out;
  out.key = std::string(text.substr(0, equals));
  out.value = std::string(text.substr(equals + 1));
  out.flag = "--set";
  return out;
}

std::string_view default_config_text() {
  return R"({
  "train_batch_size": "auto",
  "train_micro_batch_size_per_gpu": "auto",
  "gradient_accumulation_steps": "auto",
  "fp16": {"enabled": "auto"},
  "bf16": {"enabled": "auto"},
  "zero_optimization": {"stage": 0}
})";
}

ConfigFile parse_config(std::string_view text, std::string_view name, const ConfigFlags& flags) {
  ConfigFile file;
  file.source = std::string(name);
  file.precision = flags.precision;
  file.root = parse_json(text, name);
  canonicalise_names(file.root, name, file.warnings);
  for (const ConfigOverride& item : flags.overrides) {
    JsonValue tree = tree_of(item, file.warnings);
    for (JsonValue::Member& member : *tree.as_object()) merge_at(file.root, member.key, std::move(member.value));
  }
  const ConfigValues values(file.root, name, file.warnings);
  file.run = read_run_section(values);
  return file;
}

ConfigFile load_config(const std::optional<fs::path>& path, const ConfigFlags& flags) {
  if (!path) {
    ConfigFile file = parse_config(default_config_text(), kBuiltIn, flags);
    file.built_in = true;
    return file;
  }
  const fs::path found = find_config(*path);
  if (found.empty()) return parse_config(*decode_config(path->string()), kEncoded, flags);
  std::error_code error;
  if (fs::file_size(found, error) == 0) fail("{}: the file is empty", found.string());
  const MappedFile file(found);
  return parse_config(file.text(), found.string(), flags);
}

}  // namespace llama_zero
