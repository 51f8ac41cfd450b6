// A config tree checked against the schema: canonical names, coerced values, and where each was written.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "launcher/defaults_profile.h"
#include "launcher/json_value.h"
#include "launcher/schema.h"

namespace llama_zero {

/// Rewrites old and alternative names to the table's ("bfloat16" to "bf16", "zero_optimization": true to stage 1,
/// cpu_offload to offload_optimizer) in place, with a warning for deprecated ones. Throws Error when a name and its
/// alias are both there.
void canonicalise_names(JsonValue& root, std::string_view source, std::vector<std::string>& warnings);

/// "ds.json:12", or the flag that gave the value.
std::string where_of(const JsonValue& value, std::string_view source);

/// The keys that a config sets, one flat list in the order of the table.
class ConfigValues {
 public:
  struct Setting {
    const SchemaKey* key = nullptr;
    JsonValue value;
    std::string origin;    ///< "ds.json:12", "--set", "auto: ...", "default"
    bool is_auto = false;  ///< "auto", waiting for fill()
  };

  /// Checks everything that one key alone can get wrong. Throws Error; unknown keys of loose sections, and keys without
  /// effect here that ask for something, become warnings.
  ConfigValues(const JsonValue& root, std::string_view source, std::vector<std::string>& warnings);

  /// Optimizer and scheduler as the table spells them; the table's default where the config says nothing.
  const std::string& optimizer_type() const { return optimizer_type_; }
  const std::string& scheduler_type() const { return scheduler_type_; }
  /// The DeepSpeed release whose defaults fill what the config leaves open.
  const DefaultsProfile& profile() const { return profile_; }

  /// nullptr when the config does not set the key.
  const Setting* find(std::string_view path) const;
  bool is_set(std::string_view path) const { return find(path) != nullptr; }
  bool is_auto(std::string_view path) const;
  /// Set to null, or not set and null by default.
  bool is_null(std::string_view path) const;
  /// Where the key was written; the source's name when it was not.
  std::string where(std::string_view path) const;

  // The value, or the table's default. Throws Error when the key is "auto" and was not filled.
  bool flag(std::string_view path) const;
  std::int64_t integer(std::string_view path) const;
  double number(std::string_view path) const;
  std::string text(std::string_view path) const;  ///< null: ""
  std::vector<double> numbers(std::string_view path) const;
  std::vector<std::string> texts(std::string_view path) const;

  /// Gives a key the value that a rule found.
  void fill(std::string_view path, JsonValue::Data value, std::string origin);

  /// The same with a value of the table's own kind, such as an old default: 0 where a number is wanted.
  void fill_typed(std::string_view path, const JsonValue& value, std::string origin);

  const std::vector<Setting>& settings() const { return settings_; }
  const std::string& source() const { return source_; }

 private:
  void read_types();
  void read_profile();
  void visit(const JsonValue& object, const SchemaSection& section, std::vector<std::string>& warnings);
  void add(const SchemaKey& key, const JsonValue& value, Strictness strictness, std::vector<std::string>& warnings);
  void unknown(std::string_view path, const JsonValue& value, const SchemaSection& section,
               std::vector<std::string>& warnings) const;
  const SchemaKey* row(std::string_view path) const;
  JsonValue value_or_default(std::string_view path) const;

  JsonValue root_;
  std::string source_;
  std::string optimizer_type_;
  std::string scheduler_type_;
  DefaultsProfile profile_;
  std::vector<Setting> settings_;
};

}  // namespace llama_zero
