// DeepSpeed's defaults by version: the same file means another run after some of its releases. The key
// "llama_zero.defaults_profile" says which release's defaults count.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace llama_zero {

class ConfigValues;
struct TrainConfig;

/// A default that a DeepSpeed release changed.
struct ChangedDefault {
  std::string_view key;        ///< of the schema
  std::string_view since;      ///< first release with the new value
  std::string_view old_value;  ///< JSON; of every release before
  std::string_view new_value;  ///< as the schema has it, for readers
  std::string_view needs;      ///< the scheduler type that the key belongs to; empty: any
};

/// In the order of the documentation.
std::span<const ChangedDefault> changed_defaults();

/// A release, "0.18" or "0.19.5"; "newest" is later than all.
class DefaultsProfile {
 public:
  /// Throws Error, which starts with `where`, when `text` is no release.
  DefaultsProfile(std::string_view text, std::string_view where);
  DefaultsProfile() = default;

  bool is_before(std::string_view release) const;
  const std::string& text() const { return text_; }

 private:
  std::string text_ = "newest";
  std::vector<int> numbers_;  ///< empty: newest
};

/// Gives every changed default that the config leaves open its value of the profile, with the origin said.
void fill_old_defaults(ConfigValues& values, const DefaultsProfile& profile);

/// For the start of a run, a line each: the value in effect of every changed default that matters to the run, where it
/// comes from, and what another release of DeepSpeed would take. E.g.
/// "gradient_clipping 1.0 (default; 0 before DeepSpeed 0.19.3)", "gradient_clipping 0.5 (ds.json:7)".
std::vector<std::string> effective_defaults(const TrainConfig& config);

}  // namespace llama_zero
