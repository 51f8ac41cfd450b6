// Old and alternative names of keys become the table's.
#include <fmt/format.h>

#include <utility>

#include "core/error.h"
#include "launcher/config_values.h"
#include "launcher/json_document.h"
#include "launcher/schema_coerce.h"

namespace llama_zero {
namespace {

std::string child_path(std::string_view section, std::string_view name) {
  return section.empty() ? std::string(name) : fmt::format("{}.{}", section, name);
}

struct Canonical {
  std::string_view name;
  bool deprecated = false;
};

bool has_alias(std::string_view aliases, std::string_view name, Canonical& out, std::string_view canonical) {
  for (std::string_view alias : split_list(aliases)) {
    const bool deprecated = alias.starts_with('-');
    if (deprecated) alias.remove_prefix(1);
    if (alias != name) continue;
    out = {canonical, deprecated};
    return true;
  }
  return false;
}

/// The table's name of an alias in `section`; "" when `name` is none.
Canonical canonical_name(std::string_view section, std::string_view name) {
  Canonical out;
  for (const SchemaKey& key : schema_keys()) {
    if (!key.aliases.empty() && key.section() == section && has_alias(key.aliases, name, out, key.name())) return out;
  }
  if (!section.empty()) return out;
  for (const SchemaSection& candidate : schema_sections()) {
    if (has_alias(candidate.aliases, name, out, candidate.path)) return out;
  }
  return out;
}

class Renamer {
 public:
  Renamer(std::string_view source, std::vector<std::string>& warnings) : source_(source), warnings_(warnings) {}

  void visit(JsonValue& object, const std::string& section) {
    for (JsonValue::Member& member : *object.as_object()) {
      const Canonical canonical = canonical_name(section, member.key);
      if (!canonical.name.empty()) rename(object, member, canonical, section);
      const std::string path = child_path(section, member.key);
      if (member.value.is_object() && find_schema_section(path) != nullptr) visit(member.value, path);
    }
  }

  /// "zero_optimization": true is stage 1, false is none.
  void bare_zero(JsonValue& root) {
    JsonValue* zero = root.find("zero_optimization");
    if (zero == nullptr || zero->as_bool() == nullptr) return;
    JsonValue stage = *zero;
    stage.data = std::int64_t{*zero->as_bool() ? 1 : 0};
    const std::string where = where_of(*zero, source_);
    warnings_.push_back(fmt::format("{}: \"zero_optimization\": {} is deprecated; it means {{\"stage\": {}}}", where,
                                    *zero->as_bool(), *stage.as_int()));
    zero->data = JsonValue::Object{{"stage", std::move(stage)}};
  }

  void old_offload(JsonValue& root, std::string_view old_name, std::string_view new_name) {
    JsonValue* zero = root.find("zero_optimization");
    if (zero == nullptr || !zero->is_object()) return;
    const JsonValue* old = zero->find(old_name);
    const SchemaKey* key = find_schema_key(fmt::format("zero_optimization.{}", old_name));
    if (old == nullptr || old->is_null()) return;
    const std::string where = where_of(*old, source_);
    const JsonValue on = coerce_value(*key, *old, Strictness::kStrict, where);
    require(zero->find(new_name) == nullptr, "{}: both {} and {} are given; keep {}", where, old_name, new_name,
            new_name);
    warnings_.push_back(fmt::format("{}: {} is deprecated; use {} {{\"device\": \"cpu\"}}", where, old_name, new_name));
    JsonValue device = on;
    device.data = std::string("cpu");
    JsonValue offload = on;
    offload.data = JsonValue::Object{{"device", std::move(device)}};
    std::erase_if(*zero->as_object(), [&](const JsonValue::Member& member) { return member.key == old_name; });
    if (*on.as_bool()) zero->as_object()->push_back({std::string(new_name), std::move(offload)});
  }

 private:
  void rename(const JsonValue& object, JsonValue::Member& member, const Canonical& canonical,
              const std::string& section) {
    const std::string where = where_of(member.value, source_);
    require(object.find(canonical.name) == nullptr, "{}: both {} and {} are given; keep {}", where,
            child_path(section, member.key), canonical.name, canonical.name);
    if (canonical.deprecated) {
      warnings_.push_back(fmt::format("{}: {} is deprecated; use {}", where, member.key, canonical.name));
    }
    member.key = std::string(canonical.name);
  }

  std::string_view source_;
  std::vector<std::string>& warnings_;
};

}  // namespace

std::string where_of(const JsonValue& value, std::string_view source) {
  return value.flag.empty() ? fmt::format("{}:{}", source, value.line) : value.flag;
}

void canonicalise_names(JsonValue& root, std::string_view source, std::vector<std::string>& warnings) {
  Renamer renamer(source, warnings);
  renamer.bare_zero(root);
  renamer.visit(root, "");
  renamer.old_offload(root, "cpu_offload", "offload_optimizer");
  renamer.old_offload(root, "cpu_offload_param", "offload_param");
}

}  // namespace llama_zero
