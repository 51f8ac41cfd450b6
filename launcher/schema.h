// The one table of config keys: what each is called, holds, means, and what this program does with it.
//
// It drives parsing, coercion, "did you mean", warnings, refusals, --help-config, the generated documentation and the
// print of the resolved config. The behaviour that each row promises is DeepSpeed 0.19's, unless the row says
// otherwise.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace llama_zero {

enum class ValueType { kBool, kInt, kNumber, kString, kList, kObject, kAny };

enum class KeyStatus {
  kHonoured,  ///< acts; `test` names the test that shows a difference between two values
  kNoEffect,  ///< accepted; with a note, one warning when it is set to something else than its default
  kRejected,  ///< an error when set to anything but `accepted` (default: the default)
};

/// How a section treats what the table does not list.
enum class Strictness {
  kStrict,    ///< unknown key: error; lax coercions ("true", "200"); "auto" without a rule means the default
  kLoose,     ///< unknown key: one warning; no coercion of strings; "auto" without a rule is an error
  kKeywords,  ///< arguments of a constructor: unknown key: error; the rest as kLoose
  kOpaque,    ///< contents are not looked at
};

inline constexpr std::string_view kResolveTest = "each honoured key changes what resolve returns";

/// One key. Texts are literals that live as long as the program.
struct SchemaKey {
  std::string_view path;  ///< "fp16.loss_scale"
  ValueType type = ValueType::kAny;
  std::string_view
      default_text;  ///< JSON; or words in parentheses where other keys decide; "null" also makes it nullable
  /// "> 0", ">= 0", "0 .. 3" for numbers; "a|b|c" for strings, with "~" in front when case does not matter; "": any.
  std::string_view range = {};
  KeyStatus status = KeyStatus::kNoEffect;
  std::string_view meaning;         ///< one line
  std::string_view note = {};       ///< kNoEffect: the warning, empty: silent. kRejected: why, and what to do instead
  std::string_view auto_rule = {};  ///< what "auto" becomes; empty: there is no rule
  std::string_view types = {};      ///< optimizer.params and scheduler.params: the types that know it, "Adam|AdamW"
  std::string_view aliases =
      {};  ///< other names in the same section, "|" between; a leading "-" marks a deprecated one
  std::string_view accepted = {};  ///< kRejected: the JSON values that are accepted, "|" between; empty: the default
  std::string_view test = kResolveTest;  ///< kHonoured only

  std::string_view section() const;  ///< "fp16"; "" at the top level
  std::string_view name() const;     ///< "loss_scale"
};

/// `key` with the name of the test that shows an observable difference between two of its values.
constexpr SchemaKey tested(std::string_view test, SchemaKey key) {
  key.test = test;
  return key;
}

struct SchemaSection {
  std::string_view path;  ///< "" is the top level
  Strictness strictness = Strictness::kLoose;
  std::string_view meaning;
  std::string_view note = {};  ///< kOpaque: the warning when the section is there and not switched off; empty: silent
  std::string_view aliases = {};  ///< as in SchemaKey
};

/// In the order of the documentation.
std::span<const SchemaKey> schema_keys();
std::span<const SchemaSection> schema_sections();

/// nullptr when there is none. `type` chooses among rows of optimizer.params and scheduler.params.
const SchemaKey* find_schema_key(std::string_view path, std::string_view type = {});
const SchemaSection* find_schema_section(std::string_view path);

/// True when `list` ("a|b|c") has `item`.
bool list_contains(std::string_view list, std::string_view item);
std::vector<std::string_view> split_list(std::string_view list);
/// "a|b|c" as "a, b, c".
std::string spell_list(std::string_view list);

/// Optimizer and scheduler names.
std::string_view optimizer_types();            ///< the names DeepSpeed knows, "|" between
std::string_view supported_optimizer_types();  ///< those of them that train here
std::string_view scheduler_types();

/// The candidate nearest to `name` by edit distance, if near enough to be a slip of the pen; else "".
std::string closest_name(std::string_view name, const std::vector<std::string_view>& candidates);

/// What --help-config prints: a key, a section, or (empty) the list of sections. Throws Error with "did you mean" for
/// any other name.
std::string help_config(std::string_view key);

/// docs/config.md: an introduction and the table, as a page of Markdown.
std::string schema_markdown();
std::string schema_page_introduction();

namespace schema_tables {
std::span<const SchemaKey> run_keys();
std::span<const SchemaKey> optimizer_keys();
std::span<const SchemaKey> gradient_keys();
std::span<const SchemaKey> scheduler_keys();
std::span<const SchemaKey> precision_keys();
std::span<const SchemaKey> zero_keys();
std::span<const SchemaKey> report_keys();
std::span<const SchemaKey> other_keys();
}  // namespace schema_tables

}  // namespace llama_zero
