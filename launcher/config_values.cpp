#include "launcher/config_values.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "launcher/json_document.h"
#include "launcher/optimizer_types.h"
#include "launcher/schema_coerce.h"

namespace llama_zero {
namespace {

std::string child_path(std::string_view section, std::string_view name) {
  return section.empty() ? std::string(name) : fmt::format("{}.{}", section, name);
}

bool is_auto_word(const JsonValue& value) { return value.is_string() && *value.as_string() == "auto"; }

/// "auto" is the plain word where the key says so itself.
bool auto_is_a_value(const SchemaKey& key) {
  if (!key.auto_rule.empty()) return false;
  return list_contains(key.range, "auto") || key.default_text == "\"auto\"";
}

/// Before 0.19.3 a warmup of 0 updates was taken, and was as long as one of 1: two (DeepSpeed's Wh = max(2, n)).
JsonValue as_of(const DefaultsProfile& profile, const SchemaKey& key, const JsonValue& value) {
  JsonValue out = value;
  const bool zero = value.as_int() != nullptr && *value.as_int() == 0;
  if (zero && key.name() == "warmup_num_steps" && profile.is_before("0.19.3")) out.data = std::int64_t{1};
  return out;
}

/// Whether an opaque section asks for anything: an "enabled": true at any depth; without any "enabled", by being there.
bool asks_for_something(const JsonValue& value) {
  struct Search {
    bool any = false, on = false;
    void look(const JsonValue& node) {
      const auto* object = node.as_object();
      if (object == nullptr) return;
      for (const auto& [key, member] : *object) {
        if (key == "enabled" && member.as_bool() != nullptr) {
          any = true;
          on = on || *member.as_bool();
        }
        look(member);
      }
    }
  } search;
  search.look(value);
  if (const bool* flag = value.as_bool()) return *flag;
  if (const auto* object = value.as_object(); object != nullptr && object->empty()) return false;
  return search.any ? search.on : true;
}

std::vector<std::string_view> names_of_section(std::string_view section, std::string_view type) {
  std::vector<std::string_view> names;
  for (const SchemaKey& key : schema_keys()) {
    if (key.section() == section && (key.types.empty() || list_contains(key.types, type))) names.push_back(key.name());
  }
  for (const SchemaSection& candidate : schema_sections()) {
    const std::size_t dot = candidate.path.rfind('.');
    const std::string_view parent = dot == std::string_view::npos ? std::string_view() : candidate.path.substr(0, dot);
    if (!candidate.path.empty() && parent == section) {
      names.push_back(dot == std::string_view::npos ? candidate.path : candidate.path.substr(dot + 1));
    }
  }
  return names;
}

std::string did_you_mean(const std::string& name) {
  return name.empty() ? std::string() : fmt::format("; did you mean \"{}\"?", name);
}

}  // namespace

ConfigValues::ConfigValues(const JsonValue& root, std::string_view source, std::vector<std::string>& warnings)
    : root_(root), source_(source) {
  read_types();
  read_profile();
  visit(root_, *find_schema_section(""), warnings);
  std::stable_sort(settings_.begin(), settings_.end(),
                   [](const Setting& a, const Setting& b) { return a.key < b.key; });
  fill_old_defaults(*this, profile_);
}

/// Types come first: they decide which parameters exist.
void ConfigValues::read_types() {
  const auto type_of = [&](std::string_view section, std::string_view fallback) -> std::pair<std::string, std::string> {
    const JsonValue* object = root_.find(section);
    const JsonValue* type = object == nullptr ? nullptr : object->find("type");
    if (type == nullptr || type->is_null()) return {std::string(fallback), source_};
    const std::string where = where_of(*type, source_);
    require(type->is_string(), "{}: {}.type must be a string, not {}", where, section, to_json_text(*type));
    return {*type->as_string(), where};
  };
  const auto [optimizer, optimizer_where] = type_of("optimizer", "AdamW");
  optimizer_type_ = checked_optimizer_type(optimizer, optimizer_where);
  const auto [scheduler, scheduler_where] = type_of("scheduler", "linear");
  scheduler_type_ = checked_scheduler_type(scheduler, scheduler_where);
}

/// Before the rest: older releases also took values that newer ones refuse.
void ConfigValues::read_profile() {
  const JsonValue* section = root_.find("llama_zero");
  const JsonValue* profile = section == nullptr ? nullptr : section->find("defaults_profile");
  if (profile == nullptr || !profile->is_string()) return;
  profile_ = DefaultsProfile(*profile->as_string(), where_of(*profile, source_));
}

void ConfigValues::visit(const JsonValue& object, const SchemaSection& section, std::vector<std::string>& warnings) {
  for (const auto& [name, value] : *object.as_object()) {
    const std::string path = child_path(section.path, name);
    if (const SchemaSection* child = find_schema_section(path); child != nullptr) {
      // In a strict section "auto" means as if it were not there, for a section within too.
      if (value.is_null() || (section.strictness == Strictness::kStrict && is_auto_word(value))) continue;
      const std::string where = where_of(value, source_);
      if (child->strictness == Strictness::kOpaque) {
        if (child->note.empty() || !asks_for_something(value)) continue;
        warnings.push_back(fmt::format("{}: {}: {}", where, path, child->note));
        continue;
      }
      require(value.is_object(), "{}: {} must be an object {{ ... }}, not {}", where, path, to_json_text(value));
      visit(value, *child, warnings);
    } else if (const SchemaKey* key = row(path); key != nullptr) {
      add(*key, value, section.strictness, warnings);
    } else {
      unknown(path, value, section, warnings);
    }
  }
}

void ConfigValues::unknown(std::string_view path, const JsonValue& value, const SchemaSection& section,
                           std::vector<std::string>& warnings) const {
  const std::string where = where_of(value, source_);
  const bool of_optimizer = section.path == "optimizer.params";
  const std::string& type = of_optimizer ? optimizer_type_ : scheduler_type_;
  const std::string_view name = path.substr(section.path.empty() ? 0 : section.path.size() + 1);
  const std::string near = did_you_mean(closest_name(name, names_of_section(section.path, type)));
  const std::string place = section.path.empty() ? std::string("at the top level") : fmt::format("in {}", section.path);
  switch (section.strictness) {
    case Strictness::kStrict:
      fail("{}: unknown key \"{}\" {}{}", where, name, place, near);
    case Strictness::kKeywords:
      fail("{}: {} has no parameter \"{}\"{}", where, type, name, near);
    default:
      warnings.push_back(fmt::format("{}: unknown key \"{}\" {} is ignored{}", where, name, place, near));
  }
}

void ConfigValues::add(const SchemaKey& key, const JsonValue& value, Strictness strictness,
                       std::vector<std::string>& warnings) {
  const std::string where = where_of(value, source_);
  if (is_auto_word(value) && !auto_is_a_value(key)) {
    if (!key.auto_rule.empty()) {
      settings_.push_back({&key, value, where, true});
      return;
    }
    require(strictness == Strictness::kStrict, "{}: \"auto\" has no rule for {}; give a value", where, key.path);
    return;  // as if it were not there: the default
  }
  JsonValue typed = coerce_value(key, as_of(profile_, key, value), strictness, where);
  if (key.status == KeyStatus::kRejected && !is_accepted(key, typed)) {
    fail("{}: {} = {}: {}", where, key.path, to_json_text(value), key.note);
  }
  if (key.status == KeyStatus::kNoEffect && !key.note.empty() && !same_value(typed, default_value(key))) {
    warnings.push_back(fmt::format("{}: {} = {} has no effect: {}", where, key.path, to_json_text(value), key.note));
  }
  settings_.push_back({&key, std::move(typed), where, false});
}

const SchemaKey* ConfigValues::row(std::string_view path) const {
  return find_schema_key(path, path.starts_with("optimizer.") ? optimizer_type_ : scheduler_type_);
}

const ConfigValues::Setting* ConfigValues::find(std::string_view path) const {
  for (const Setting& setting : settings_) {
    if (setting.key->path == path) return &setting;
  }
  return nullptr;
}

bool ConfigValues::is_auto(std::string_view path) const {
  const Setting* setting = find(path);
  return setting != nullptr && setting->is_auto;
}

bool ConfigValues::is_null(std::string_view path) const { return !is_auto(path) && value_or_default(path).is_null(); }

std::string ConfigValues::where(std::string_view path) const {
  const Setting* setting = find(path);
  return setting == nullptr ? source_ : setting->origin;
}

JsonValue ConfigValues::value_or_default(std::string_view path) const {
  if (const Setting* setting = find(path); setting != nullptr) {
    require(!setting->is_auto, "{}: \"auto\" of {} was not resolved", setting->origin, path);
    return setting->value;
  }
  const SchemaKey* key = row(path);
  require(key != nullptr, "the config table has no key {}", path);
  const JsonValue value = default_value(*key);
  return value.is_null() ? value : coerce_value(*key, value, Strictness::kLoose, "default");
}

bool ConfigValues::flag(std::string_view path) const {
  const JsonValue value = value_or_default(path);
  return value.as_bool() != nullptr && *value.as_bool();
}

std::int64_t ConfigValues::integer(std::string_view path) const {
  return std::get<std::int64_t>(value_or_default(path).data);
}

double ConfigValues::number(std::string_view path) const { return std::get<double>(value_or_default(path).data); }

std::string ConfigValues::text(std::string_view path) const {
  const JsonValue value = value_or_default(path);
  return value.is_null() ? std::string() : std::get<std::string>(value.data);
}

std::vector<double> ConfigValues::numbers(std::string_view path) const {
  const JsonValue value = value_or_default(path);
  std::vector<double> out;
  for (const JsonValue& element : std::get<JsonValue::Array>(value.data)) {
    const auto* whole = element.as_int();
    require(whole != nullptr || element.as_double() != nullptr, "{}: {} must hold numbers, not {}", where(path), path,
            to_json_text(element));
    out.push_back(whole != nullptr ? static_cast<double>(*whole) : *element.as_double());
  }
  return out;
}

std::vector<std::string> ConfigValues::texts(std::string_view path) const {
  const JsonValue value = value_or_default(path);
  std::vector<std::string> out;
  for (const JsonValue& element : std::get<JsonValue::Array>(value.data)) {
    require(element.is_string(), "{}: {} must hold strings, not {}", where(path), path, to_json_text(element));
    out.push_back(*element.as_string());
  }
  return out;
}

void ConfigValues::fill_typed(std::string_view path, const JsonValue& value, std::string origin) {
  const SchemaKey* key = row(path);
  require(key != nullptr, "the config table has no key {}", path);
  fill(path, coerce_value(*key, value, Strictness::kLoose, "default").data, std::move(origin));
}

void ConfigValues::fill(std::string_view path, JsonValue::Data value, std::string origin) {
  const SchemaKey* key = row(path);
  require(key != nullptr, "the config table has no key {}", path);
  Setting filled{key, JsonValue(std::move(value)), std::move(origin), false};
  const auto at =
      std::lower_bound(settings_.begin(), settings_.end(), key,
                       [](const Setting& setting, const SchemaKey* wanted) { return setting.key < wanted; });
  if (at != settings_.end() && at->key == key) {
    *at = std::move(filled);
  } else {
    settings_.insert(at, std::move(filled));
  }
}

}  // namespace llama_zero
