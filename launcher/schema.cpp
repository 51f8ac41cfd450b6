#include "launcher/schema.h"

#include <algorithm>
#include <numeric>

namespace llama_zero {
namespace {

std::vector<SchemaKey> join_tables() {
  std::vector<SchemaKey> keys;
  for (const auto table : {schema_tables::run_keys(), schema_tables::optimizer_keys(), schema_tables::gradient_keys(),
                           schema_tables::scheduler_keys(), schema_tables::precision_keys(), schema_tables::zero_keys(),
                           schema_tables::report_keys(), schema_tables::other_keys()}) {
    keys.insert(keys.end(), table.begin(), table.end());
  }
  return keys;
}

/// Insertions, deletions and substitutions (Levenshtein), case folded.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t substituted = diagonal + (lower(a[i - 1]) == lower(b[j - 1]) ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({substituted, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

}  // namespace

std::string_view SchemaKey::section() const {
  const std::size_t dot = path.rfind('.');
  return dot == std::string_view::npos ? std::string_view() : path.substr(0, dot);
}

std::string_view SchemaKey::name() const {
  const std::size_t dot = path.rfind('.');
  return dot == std::string_view::npos ? path : path.substr(dot + 1);
}

std::span<const SchemaKey> schema_keys() {
  static const std::vector<SchemaKey> kKeys = join_tables();
  return kKeys;
}

const SchemaKey* find_schema_key(std::string_view path, std::string_view type) {
  for (const SchemaKey& key : schema_keys()) {
    if (key.path == path && (key.types.empty() || list_contains(key.types, type))) return &key;
  }
  return nullptr;
}

const SchemaSection* find_schema_section(std::string_view path) {
  for (const SchemaSection& section : schema_sections()) {
    if (section.path == path) return &section;
  }
  return nullptr;
}

std::vector<std::string_view> split_list(std::string_view list) {
  std::vector<std::string_view> items;
  while (!list.empty()) {
    const std::size_t bar = list.find('|');
    items.push_back(list.substr(0, bar));
    list = bar == std::string_view::npos ? std::string_view() : list.substr(bar + 1);
  }
  return items;
}

std::string spell_list(std::string_view list) {
  std::string out;
  for (const char c : list) {
    if (c == '|') {
      out += ", ";
    } else {
      out += c;
    }
  }
  return out;
}

bool list_contains(std::string_view list, std::string_view item) {
  const auto items = split_list(list);
  return std::find(items.begin(), items.end(), item) != items.end();
}

std::string closest_name(std::string_view name, const std::vector<std::string_view>& candidates) {
  std::string_view best;
  std::size_t best_distance = std::max<std::size_t>(2, name.size() / 4) + 1;
  for (const std::string_view candidate : candidates) {
    const std::size_t distance = edit_distance(name, candidate);
    if (distance < best_distance && distance < candidate.size()) {
      best = candidate;
      best_distance = distance;
    }
  }
  return std::string(best);
}

}  // namespace llama_zero
