// flops_profiler.
#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "launcher/monitor/flops_report.h"
#include "launcher/monitor/module_profile.h"
#include "model/param_table.h"
#include "test_config_support.h"
#include "tests/support/model_fixture.h"

namespace llama_zero::test {
namespace {

using config_test::contains;
using config_test::resolve_text;
using config_test::set_flags;

FlopsFigures figures_of(const ModuleProfile& model) {
  FlopsFigures figures;
  figures.step = 2;
  figures.ranks = 4;
  figures.micro_batch = 3;
  figures.samples = 24;
  figures.forward_ms = 10.0;
  figures.backward_ms = 25.0;
  figures.update_ms = 5.0;
  figures.model = model;
  return figures;
}

/// The module at a path of names from the root.
const ModuleProfile& at(const ModuleProfile& root, const std::vector<std::string>& path) {
  const ModuleProfile* module = &root;
  for (const std::string& name : path) {
    const auto found = std::ranges::find(module->children, name, &ModuleProfile::name);
    REQUIRE(found != module->children.end());
    module = &*found;
  }
  return *module;
}

std::string profile_of(const std::vector<std::string>& sets) {
  const TrainConfig config = resolve_text(R"({"flops_profiler": {"enabled": true}})", 1, set_flags(sets));
  const ModuleProfile model = profile_model(small_config(), {10, 30.0}, std::vector<double>{1.0, 3.0, 4.0, 2.0});
  return flops_report(figures_of(model), config.monitor.flops);
}

}  // namespace

TEST_CASE("attention counts the pairs of each document and no padding") {
  const Pass pass = make_pass({.lengths = {3, 5}, .padding = 4}, 509);
  const std::vector<Pass> passes = {pass, make_pass({.lengths = {2}}, 509)};
  const ForwardShape shape = shape_of(passes);
  CHECK(shape.tokens == 14);
  CHECK(shape.attention_pairs == 6.0 + 15.0 + 3.0);
}

TEST_CASE("the profile counts parameters, MACs and flops by their formulas") {
  // H 32, I 48, V 509, two layers, 4 heads of 8, 2 key-value heads.
  const LlamaConfig config = small_config(2);
  const ModuleProfile model = profile_model(config, {10, 30.0}, {});
  CHECK(model.params == static_cast<double>(ParamTable(config).total_numel()));
  const ModuleProfile& attention = at(model, {"model", "layers", "1", "self_attn"});
  CHECK(at(attention, {"k_proj"}).macs == 10 * 32 * 16);
  CHECK(attention.macs == 10 * 32 * (32 + 16 + 16 + 32) + 2 * 30 * 32);
  CHECK(attention.flops == 2 * attention.macs + 3 * 10 * (32 + 16));
  const ModuleProfile& mlp = at(model, {"model", "layers", "0", "mlp"});
  CHECK(mlp.macs == 3 * 10 * 32 * 48);
  CHECK(mlp.flops == 2 * mlp.macs + 2 * 10 * 48);
  CHECK(at(model, {"lm_head"}).macs == 10 * 32 * 509);
  CHECK(model.macs == 2 * (attention.macs + mlp.macs) + 10 * 32 * 509);
  const double layer_rest = 2 * 4 * 10 * 32 + 2 * 10 * 32;
  CHECK(model.flops == 2 * (attention.flops + mlp.flops + layer_rest) + 4 * 10 * 32 + 2 * 10 * 32 * 509);
  const LlamaConfig tied = small_config(2, true);
  CHECK(profile_model(tied, {10, 30.0}, {}).params == static_cast<double>(ParamTable(tied).total_numel()));
}

TEST_CASE("times of units become those of their modules and of what holds them") {
  const ModuleProfile model = profile_model(small_config(), {10, 30.0}, std::vector<double>{1.0, 3.0, 4.0, 2.0});
  CHECK(at(model, {"model", "embed_tokens"}).forward_ms == 1.0);
  CHECK(at(model, {"model", "layers"}).forward_ms == 7.0);
  CHECK(at(model, {"model"}).forward_ms == 8.0);
  CHECK(at(model, {"lm_head"}).forward_ms == 2.0);
  CHECK(model.forward_ms == 10.0);
  CHECK_FALSE(at(model, {"model", "layers", "0", "mlp"}).forward_ms.has_value());
}

TEST_CASE("numbers are printed with a unit that keeps them at one or above") {
  CHECK(short_number(0.0) == "0 ");
  CHECK(short_number(1.0) == "1 ");
  CHECK(short_number(1500.0) == "1.5 K");
  CHECK(short_number(2.345e12) == "2.35 T");
  CHECK(short_number(0.0125) == "12.5 m");
  CHECK(short_number(1e-5) == "10 u");
}

TEST_CASE("the profile has DeepSpeed's summary") {
  ModuleProfile model;
  model.class_name = "LlamaForCausalLM";
  model.params = 7e9;
  model.macs = 4e9;
  model.flops = 1e10;
  FlopsProfilerConfig config;
  config.recompute_fwd_factor = 1.0;
  const std::string text = flops_report(figures_of(model), config);
  const auto has = [&](std::string_view label, std::string_view value) {
    CHECK(contains(text, fmt::format("\n{:<70}  {:<8}\n", label, value)));
  };
  CHECK(contains(text, "Profile Summary at step 2:\n"));
  has("world size: ", "4");
  has("batch size per GPU: ", "3");
  has("params per GPU: ", "7 B");
  has("fwd MACs per GPU: ", "4 GMACs");
  has("fwd flops per GPU: ", "10 G");
  has("fwd latency: ", "10 ms");
  has("fwd FLOPS per GPU = fwd flops per GPU / fwd latency: ", "1 TFLOPS");
  has("bwd FLOPS per GPU = 3 * fwd flops per GPU / bwd latency: ", "1.2 TFLOPS");
  has("fwd+bwd FLOPS per GPU = 4 * fwd flops per GPU / (fwd+bwd latency): ", "1.14 TFLOPS");
  has("step latency: ", "5 ms");
  has("iter latency: ", "40 ms");
  has("FLOPS per GPU = 4 * fwd flops per GPU / iter latency: ", "1 TFLOPS");
  has("samples/second: ", "600");
}

TEST_CASE("each flops_profiler key changes the profile") {
  const std::string standard = profile_of({});
  CHECK(contains(standard, "depth 4:\n"));
  CHECK(contains(standard, "    params      - {'LlamaModel': '"));
  CHECK(contains(standard, "      (0): LlamaDecoderLayer(\n"));
  CHECK(contains(standard, "bwd FLOPS per GPU = 2 * fwd"));
  CHECK(contains(profile_of({"flops_profiler.recompute_fwd_factor=0.5"}), "bwd FLOPS per GPU = 2.5 * fwd"));
  const std::string shallow = profile_of({"flops_profiler.module_depth=2"});
  CHECK(contains(shallow, "depth 1:\n"));
  CHECK_FALSE(contains(shallow, "depth 2:\n"));
  const std::string two = profile_of({"flops_profiler.top_modules=2"});
  CHECK(contains(two, "Top 2 modules"));
  CHECK(contains(two, "', 'Linear': '"));
  CHECK_FALSE(contains(profile_of({"flops_profiler.detailed=false"}), "LlamaDecoderLayer(\n"));

  const auto monitor_of = [](const char* set) { return resolve_text("{}", 1, set_flags({set})).monitor; };
  CHECK(monitor_of("flops_profiler.enabled=true").flops.enabled);
  CHECK(monitor_of("flops_profiler.enabled=true").wall_clock_breakdown);
  CHECK(monitor_of("flops_profiler.profile_step=7").flops.profile_step == 7);
  CHECK(monitor_of("flops_profiler.output_file=\"p.txt\"").flops.output_file == "p.txt");
}

TEST_CASE("a profile step that the run does not reach is warned of") {
  const auto warned = [](const char* set) {
    const TrainConfig config =
        resolve_text(R"({"flops_profiler": {"enabled": true}, "llama_zero": {"max_steps": 4}})", 1, set_flags({set}));
    return config_test::any_contains(config.warnings, "nothing is profiled");
  };
  CHECK(warned("flops_profiler.profile_step=4"));
  CHECK_FALSE(warned("flops_profiler.profile_step=3"));
}

}  // namespace llama_zero::test
