// tests/data/traces/loss_scale.json: traces of an independent derivation of the loss scale
// (scripts/trace_loss_scale.py), which were compared with DeepSpeed's own scaler where the file says so.
#include <cstdint>
#include <cstring>
#include <nlohmann/json.hpp>
#include <vector>

#include "core/files.h"
#include "kernels/step_state.h"
#include "test_config_support.h"
#include "tests/support/source_folder.h"

using namespace llama_zero;
using namespace llama_zero::config_test;

namespace {

struct Step {
  double scale = 0.0;
  std::int32_t hysteresis_left = 0;
  int event = 0;  ///< 0: clean, 1: overflow, 2: overflow that ends the run
};

/// The scaler of a config with these options in its fp16 section.
LossScalerConfig scaler_of(nlohmann::json options) {
  options["enabled"] = true;
  return resolve_text(nlohmann::json{{"fp16", options}}.dump()).scaler;
}

/// Bit i of the hexadecimal number, from its lowest digit.
bool overflows(const std::string& hex, std::size_t step) {
  const std::size_t digit = step / 4;
  if (digit >= hex.size()) return false;
  const char c = hex[hex.size() - 1 - digit];
  const int value = c <= '9' ? c - '0' : c - 'a' + 10;
  return (value >> (step % 4) & 1) != 0;
}

std::vector<Step> trace(const LossScalerConfig& config, const nlohmann::json& pattern, double ceiling) {
  StepState state = initial_step_state(config);
  const auto hex = pattern.at("overflows").get<std::string>();
  std::vector<Step> steps;
  for (std::size_t i = 0; i < pattern.at("steps").get<std::size_t>(); ++i) {
    const bool overflow = overflows(hex, i);
    update_loss_scale(state, config, overflow);
    const int event = !overflow ? 0 : (state.scale_exhausted != 0 ? 2 : 1);
    steps.push_back({static_cast<double>(state.loss_scale), state.hysteresis_left, event});
    if (event == 2 || steps.back().scale > ceiling) break;
  }
  return steps;
}

void add_to_hash(std::uint32_t& hash, const std::vector<Step>& steps) {
  const auto add = [&](std::uint8_t byte) { hash = (hash ^ byte) * 0x01000193U; };
  for (const Step& step : steps) {
    std::uint8_t bytes[8];
    std::memcpy(bytes, &step.scale, 8);
    for (const std::uint8_t byte : bytes) add(byte);
    add(static_cast<std::uint8_t>(step.hysteresis_left));
    add(static_cast<std::uint8_t>(step.event));
  }
}

/// As the file writes a trace out: an entry for each change, then how many steps there were and whether the run ended.
nlohmann::json changes(const std::vector<Step>& steps) {
  nlohmann::json out = nlohmann::json::array();
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const bool same =
        i > 0 && steps[i].scale == steps[i - 1].scale && steps[i].hysteresis_left == steps[i - 1].hysteresis_left;
    if (!same) out.push_back({i, steps[i].scale, steps[i].hysteresis_left});
  }
  out.push_back({steps.size(), steps.back().event == 2 ? -1 : 0, 0});
  return out;
}

}  // namespace

TEST_CASE("200 overflow patterns move the loss scale as DeepSpeed's scaler, step by step, under all options") {
  const MappedFile file(test::source_folder() / "tests/data/traces/loss_scale.json");
  const auto data = nlohmann::json::parse(file.text());
  CHECK(contains(data.at("compared").get<std::string>(), "equals DynamicLossScaler of DeepSpeed"));
  std::vector<LossScalerConfig> configs;
  for (const auto& options : data.at("options")) configs.push_back(scaler_of(options));
  const auto group = data.at("group").get<std::size_t>();
  const auto stride = data.at("stride").get<std::size_t>();
  const auto ceiling = data.at("ceiling").get<double>();
  REQUIRE(data.at("patterns").size() == 200);
  REQUIRE(configs.size() > 200);
  for (const auto& pattern : data.at("patterns")) {
    std::vector<std::uint32_t> hashes((configs.size() + group - 1) / group, 0x811c9dc5U);
    nlohmann::json written = nlohmann::json::array();
    for (std::size_t i = 0; i < configs.size(); ++i) {
      const std::vector<Step> steps = trace(configs[i], pattern, ceiling);
      add_to_hash(hashes[i / group], steps);
      if (i % stride == 0) written.push_back(changes(steps));
    }
    if (pattern.contains("traces")) CHECK(written == pattern.at("traces"));
    for (std::size_t g = 0; g < hashes.size(); ++g) {
      INFO("options ", g * group, " and on: ", data.at("options").at(g * group).dump());
      CHECK(fmt::format("{:08x}", hashes[g]) == pattern.at("hashes").at(g).get<std::string>());
    }
  }
}
