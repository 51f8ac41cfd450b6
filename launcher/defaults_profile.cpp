#include "launcher/defaults_profile.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "core/error.h"
#include "launcher/config.h"
#include "launcher/config_values.h"
#include "launcher/json_document.h"

namespace llama_zero {
namespace {

/// "0.19.3" as {0, 19, 3}; nothing for any other text.
std::optional<std::vector<int>> parse_release(std::string_view text) {
  std::vector<int> numbers;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at != end) {
    int number = 0;
    const auto [next, error] = std::from_chars(at, end, number);
    if (error != std::errc() || number < 0 || numbers.size() == 3) return std::nullopt;
    numbers.push_back(number);
    if (next == end) return numbers.size() >= 2 ? std::optional(numbers) : std::nullopt;
    if (*next != '.') return std::nullopt;
    at = next + 1;
  }
  return std::nullopt;
}

bool matters(const ChangedDefault& changed, const TrainConfig& config) {
  if (!changed.needs.empty()) return config.schedule.type_name == changed.needs;
  if (changed.key.starts_with("bf16.")) return config.dtype == DType::kBF16;
  if (changed.key.find("offload_optimizer") != std::string_view::npos) return config.zero.offload_optimizer.enabled;
  if (changed.key.find("offload_param") != std::string_view::npos) return config.zero.offload_param.enabled;
  return true;
}

std::string describe(const ChangedDefault& changed, const TrainConfig& config) {
  const auto at = std::find_if(config.origins.begin(), config.origins.end(),
                               [&](const ConfigOrigin& line) { return line.key == changed.key; });
  const bool set = at != config.origins.end() && at->origin != "default";
  if (set) return fmt::format("{} {} ({})", changed.key, at->value, at->origin);
  return fmt::format("{} {} (default; {} before DeepSpeed {})", changed.key, changed.new_value, changed.old_value,
                     changed.since);
}

}  // namespace

std::span<const ChangedDefault> changed_defaults() {
  static constexpr ChangedDefault kChanged[] = {
      {"gradient_clipping", "0.19.3", "0", "1.0", ""},
      {"bf16.check_grad_overflow", "0.19.3", "false", "true", ""},
      {"zero_optimization.offload_optimizer.pin_memory", "0.19.5", "false", "true", ""},
      {"zero_optimization.offload_param.pin_memory", "0.19.5", "false", "true", ""},
      {"steps_per_print", "0.15.2", "10", "null", ""},
      {"scheduler.params.warmup_max_lr", "0.17.2", "0.001", "the optimizer's lr", "WarmupLR"},
  };
  return kChanged;
}

DefaultsProfile::DefaultsProfile(std::string_view text, std::string_view where) : text_(text) {
  if (text == "newest") return;
  const auto numbers = parse_release(text);
  require(numbers.has_value(),
          "{}: llama_zero.defaults_profile must be \"newest\" or a DeepSpeed release such as \"0.18.2\", not \"{}\"",
          where, text);
  numbers_ = *numbers;
  numbers_.resize(3);  // "0.19" is 0.19.0
}

bool DefaultsProfile::is_before(std::string_view release) const {
  if (numbers_.empty()) return false;
  return numbers_ < parse_release(release).value();
}

void fill_old_defaults(ConfigValues& values, const DefaultsProfile& profile) {
  for (const ChangedDefault& changed : changed_defaults()) {
    const bool other_type = !changed.needs.empty() && values.scheduler_type() != changed.needs;
    if (other_type || values.is_set(changed.key) || !profile.is_before(changed.since)) continue;
    JsonValue value = parse_json_value(changed.old_value, changed.key);
    values.fill_typed(changed.key, value, fmt::format("default before DeepSpeed {}", changed.since));
  }
}

std::vector<std::string> effective_defaults(const TrainConfig& config) {
  std::vector<std::string> lines;
  for (const ChangedDefault& changed : changed_defaults()) {
    if (matters(changed, config)) lines.push_back(describe(changed, config));
  }
  if (config.schedule.type == ScheduleType::kWarmupCosine) {
    lines.push_back(config.schedule.cosine_climbs
                        ? "WarmupCosineLR climbs again after its end (as before DeepSpeed 0.19.3)"
                        : "WarmupCosineLR stays where it ends (it climbs again before DeepSpeed 0.19.3)");
  }
  return lines;
}

}  // namespace llama_zero
