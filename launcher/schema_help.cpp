// The table for readers: --help-config and the page of Markdown.
#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"
#include "launcher/schema.h"

namespace llama_zero {
namespace {

std::string_view type_word(ValueType type) {
  switch (type) {
    case ValueType::kBool:
      return "bool";
    case ValueType::kInt:
      return "integer";
    case ValueType::kNumber:
      return "number";
    case ValueType::kString:
      return "string";
    case ValueType::kList:
      return "list";
    case ValueType::kObject:
      return "object";
    case ValueType::kAny:
      break;
  }
  return "any";
}

std::string_view status_word(KeyStatus status) {
  switch (status) {
    case KeyStatus::kHonoured:
      return "honoured";
    case KeyStatus::kNoEffect:
      return "accepted, no effect";
    case KeyStatus::kRejected:
      break;
  }
  return "rejected";
}

std::string_view strictness_words(Strictness strictness) {
  switch (strictness) {
    case Strictness::kStrict:
    case Strictness::kKeywords:
      return "an unknown key is an error";
    case Strictness::kLoose:
      return "an unknown key is ignored with a warning";
    case Strictness::kOpaque:
      break;
  }
  return "accepted, no effect; contents are not read";
}

std::string range_words(const SchemaKey& key) {
  if (key.range.empty()) return {};
  if (key.type != ValueType::kString) return std::string(key.range);
  return spell_list(key.range.starts_with('~') ? key.range.substr(1) : key.range);
}

/// "rejected unless false: the sentence"
std::string effect_words(const SchemaKey& key) {
  if (key.status == KeyStatus::kHonoured) return std::string(status_word(key.status));
  std::string out(status_word(key.status));
  if (key.status == KeyStatus::kRejected) {
    const std::string_view accepted = key.accepted.empty() ? key.default_text : key.accepted;
    std::string values;
    for (const std::string_view value : split_list(accepted))
      values += fmt::format("{}{}", values.empty() ? "" : " or ", value);
    out += fmt::format(" unless {}", values);
  }
  return key.note.empty() ? out : fmt::format("{}: {}", out, key.note);
}

std::string alias_words(const SchemaKey& key) {
  std::string out;
  for (std::string_view alias : split_list(key.aliases)) {
    const bool deprecated = alias.starts_with('-');
    if (deprecated) alias.remove_prefix(1);
    out += fmt::format("{}{}{}", out.empty() ? "" : ", ", alias, deprecated ? " (deprecated)" : "");
  }
  return out;
}

std::string describe(const SchemaKey& key) {
  std::string out = fmt::format("{} ({})\n  {}\n", key.path, type_word(key.type), key.meaning);
  const auto line = [&](std::string_view label, const std::string& text) {
    if (!text.empty()) out += fmt::format("  {}: {}\n", label, text);
  };
  line("of", spell_list(key.types));
  line("default", std::string(key.default_text));
  line("values", range_words(key));
  line("\"auto\"", std::string(key.auto_rule));
  line("also written", alias_words(key));
  line("here", effect_words(key));
  return out;
}

std::string describe(const SchemaSection& section) {
  std::string out = section.path.empty() ? ""
                                         : fmt::format("{}: {}; {}\n", section.path, section.meaning,
                                                       strictness_words(section.strictness));
  if (!section.note.empty()) out += fmt::format("  {}\n", section.note);
  for (const SchemaKey& key : schema_keys()) {
    if (key.section() != section.path) continue;
    const std::string types = key.types.empty() ? "" : fmt::format(" [{}]", spell_list(key.types));
    out += fmt::format("  {}{} = {}: {}\n", key.name(), types, key.default_text, key.meaning);
  }
  return out;
}

std::string list_sections() {
  std::string out = "Keys at the top level:\n" + describe(*find_schema_section("")) + "Sections:\n";
  for (const SchemaSection& section : schema_sections()) {
    if (!section.path.empty()) out += fmt::format("  {}: {}\n", section.path, section.meaning);
  }
  return out;
}

std::vector<std::string_view> all_names() {
  std::vector<std::string_view> names;
  for (const SchemaKey& key : schema_keys()) {
    names.push_back(key.path);
    names.push_back(key.name());
  }
  for (const SchemaSection& section : schema_sections()) {
    if (!section.path.empty()) names.push_back(section.path);
  }
  return names;
}

std::string cell(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '|') out += '\\';
    out += c;
  }
  return out;
}

std::string markdown_row(const SchemaKey& key) {
  const std::string types = key.types.empty() ? "" : fmt::format(" ({})", spell_list(key.types));
  const std::string aliases = key.aliases.empty() ? "" : fmt::format(" Also written {}.", alias_words(key));
  const std::string automatic = key.auto_rule.empty() ? "" : fmt::format(" \"auto\": {}.", key.auto_rule);
  const std::string range = range_words(key);
  const std::string values =
      range.empty() ? std::string(type_word(key.type)) : fmt::format("{} {}", type_word(key.type), range);
  return fmt::format("| `{}`{} | {} | {} | {}.{}{} | {} |\n", key.name(), types, cell(values), cell(key.default_text),
                     cell(key.meaning), cell(automatic), cell(aliases), cell(effect_words(key)));
}

}  // namespace

std::string help_config(std::string_view name) {
  if (name.empty()) return list_sections();
  if (const SchemaSection* section = find_schema_section(name); section != nullptr) return describe(*section);
  std::string out;
  for (const SchemaKey& key : schema_keys()) {
    if (key.path == name) out += describe(key);
  }
  if (!out.empty()) return out;
  for (const SchemaKey& key : schema_keys()) {
    if (key.name() == name) out += describe(key);
  }
  if (!out.empty()) return out;
  const std::string near = closest_name(name, all_names());
  fail("no config key \"{}\"{}", name, near.empty() ? "" : fmt::format("; did you mean \"{}\"?", near));
}

std::string schema_markdown() {
  std::string out = schema_page_introduction();
  for (const SchemaSection& section : schema_sections()) {
    const std::string title = section.path.empty() ? "Top level" : fmt::format("`{}`", section.path);
    out += fmt::format("## {}\n", title);
    if (!section.path.empty()) out += fmt::format("\n{}; {}.\n", section.meaning, strictness_words(section.strictness));
    std::string rows;
    for (const SchemaKey& key : schema_keys()) {
      if (key.section() == section.path) rows += markdown_row(key);
    }
    if (!rows.empty()) out += "\n| Key | Values | Default | Meaning | Here |\n|---|---|---|---|---|\n" + rows;
    out += "\n";
  }
  out.pop_back();  // one line end at the end
  return out;
}

}  // namespace llama_zero
