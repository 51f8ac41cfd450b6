// The resolved config for people and for the next run.
#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "launcher/config_resolve.h"
#include "launcher/json_document.h"
#include "launcher/schema_coerce.h"

namespace llama_zero {
namespace {

/// Defaults that changed between DeepSpeed's versions are always shown: the same file means another run there.
bool default_is_telling(const SchemaKey& key) {
  return list_contains("gradient_clipping|bf16.check_grad_overflow", key.path) || key.path == "fp16.enabled" ||
         key.path == "bf16.enabled" || key.path == "zero_optimization.stage";
}

bool acts_by_default(const SchemaKey& key, const ConfigValues& values) {
  if (key.status != KeyStatus::kHonoured || key.default_text == "null" || key.default_text.starts_with('('))
    return false;
  const std::string_view section = key.section();
  if (section == "llama_zero" || default_is_telling(key)) return true;
  if (section == "optimizer.params" || section == "optimizer") return list_contains(key.types, values.optimizer_type());
  if (section == "scheduler.params") return list_contains(key.types, values.scheduler_type());
  if (section == "fp16") return values.flag("fp16.enabled");
  return false;
}

/// " (auto)": what a reader of the short print wants to know beside the file's own words.
std::string remark(const ConfigOrigin& line, std::string_view source) {
  const std::string_view origin = line.origin;
  std::string text;
  if (!origin.starts_with(fmt::format("{}:", source))) text = origin.substr(0, origin.find(':'));
  if (!line.effect.empty()) text += text.empty() ? "no effect" : ", no effect";
  return text.empty() ? text : fmt::format(" ({})", text);
}

/// "section: entry, entry,", later lines indented.
std::string wrapped(std::string_view section, const std::vector<std::string>& entries, std::size_t width) {
  std::string out = section.empty() ? "" : fmt::format("{}: ", section);
  std::size_t column = out.size();
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const std::string entry = entries[i] + (i + 1 < entries.size() ? ", " : "");
    if (column > 4 && column + entry.size() > width) {
      out.erase(out.find_last_not_of(' ') + 1);
      out += "\n    ";
      column = 4;
    }
    out += entry;
    column += entry.size();
  }
  return out + "\n";
}

}  // namespace

std::vector<ConfigOrigin> collect_origins(const ConfigValues& values) {
  std::vector<ConfigOrigin> origins;
  for (const SchemaKey& key : schema_keys()) {
    const auto& settings = values.settings();
    const auto setting =
        std::find_if(settings.begin(), settings.end(), [&](const auto& candidate) { return candidate.key == &key; });
    const std::string effect = key.status == KeyStatus::kNoEffect ? "no effect here" : "";
    if (setting != settings.end()) {
      origins.push_back({std::string(key.path), to_json_text(setting->value), setting->origin, effect});
    } else if (acts_by_default(key, values)) {
      origins.push_back({std::string(key.path), std::string(key.default_text), "default", effect});
    }
  }
  return origins;
}

std::string print_resolved(const TrainConfig& config) {
  std::size_t key_width = 0;
  std::size_t value_width = 0;
  for (const ConfigOrigin& line : config.origins) {
    key_width = std::max(key_width, line.key.size());
    value_width = std::max(value_width, std::min<std::size_t>(line.value.size(), 24));
  }
  std::string out;
  for (const ConfigOrigin& line : config.origins) {
    out += fmt::format("{:<{}}  {:<{}}  {}{}\n", line.key, key_width, line.value, value_width, line.origin,
                       line.effect.empty() ? "" : fmt::format(" ({})", line.effect));
  }
  return out;
}

std::string print_settings(const TrainConfig& config, std::size_t width) {
  std::vector<std::pair<std::string, std::vector<std::string>>> sections;
  for (const ConfigOrigin& line : config.origins) {
    if (line.origin == "default") continue;
    const std::size_t dot = line.key.rfind('.');
    const std::string section = dot == std::string::npos ? "" : line.key.substr(0, dot);
    if (sections.empty() || sections.back().first != section) sections.push_back({section, {}});
    const std::string name = dot == std::string::npos ? line.key : line.key.substr(dot + 1);
    sections.back().second.push_back(fmt::format("{} {}{}", name, line.value, remark(line, config.source)));
  }
  std::string out;
  for (const auto& [section, entries] : sections) out += wrapped(section, entries, width);
  return out;
}

std::string resolved_json(const TrainConfig& config) {
  JsonValue root(JsonValue::Object{});
  for (const ConfigOrigin& line : config.origins) {
    merge_at(root, line.key, parse_json_value(line.value, line.key));
  }
  return to_json_text(root, 2);
}

}  // namespace llama_zero
