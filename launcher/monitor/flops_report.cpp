#include "launcher/monitor/flops_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <utility>
#include <vector>

#include "launcher/monitor/deepspeed_text.h"

namespace llama_zero {
namespace {

std::string params_text(double params) {
  std::string text = short_number(params);
  std::ranges::replace(text, 'G', 'B');
  while (!text.empty() && text.back() == ' ') text.pop_back();
  return text;
}

std::string macs_text(double macs) { return short_number(macs) + "MACs"; }
std::string duration_text(double milliseconds) { return short_number(milliseconds / 1e3) + "s"; }
std::string rate_text(double flops, double milliseconds) {
  return short_number(milliseconds > 0.0 ? flops / (milliseconds / 1e3) : 0.0) + "FLOPS";
}

std::string two_decimals(double value) {
  std::string text = fmt::format("{:.2f}", value);
  while (text.back() == '0') text.pop_back();
  if (text.back() == '.') text.pop_back();
  return text;
}

double percent(double part, double whole) { return whole > 0.0 ? 100.0 * part / whole : 0.0; }

std::string line(std::string_view label, const std::string& value) {
  return fmt::format("{:<70}  {:<8}\n", label, value);
}

std::string summary(const FlopsFigures& figures, const FlopsProfilerConfig& config) {
  const ModuleProfile& model = figures.model;
  const double factor = 2.0 + config.recompute_fwd_factor;
  const double iteration = figures.forward_ms + figures.backward_ms + figures.update_ms;
  std::string out = line("world size: ", std::to_string(figures.ranks));
  out += line("data parallel size: ", std::to_string(figures.ranks));
  out += line("model parallel size: ", "1");
  out += line("batch size per GPU: ", std::to_string(figures.micro_batch));
  out += line("params per GPU: ", params_text(model.params));
  out += line("params of model = params per GPU * mp_size: ", params_text(model.params));
  out += line("fwd MACs per GPU: ", macs_text(model.macs));
  out += line("fwd flops per GPU: ", short_number(model.flops));
  out += line("fwd flops of model = fwd flops per GPU * mp_size: ", short_number(model.flops));
  out += line("fwd latency: ", duration_text(figures.forward_ms));
  out += line("fwd FLOPS per GPU = fwd flops per GPU / fwd latency: ", rate_text(model.flops, figures.forward_ms));
  out += line("bwd latency: ", duration_text(figures.backward_ms));
  out += line(fmt::format("bwd FLOPS per GPU = {:g} * fwd flops per GPU / bwd latency: ", factor),
              rate_text(factor * model.flops, figures.backward_ms));
  out += line(fmt::format("fwd+bwd FLOPS per GPU = {:g} * fwd flops per GPU / (fwd+bwd latency): ", factor + 1.0),
              rate_text((factor + 1.0) * model.flops, figures.forward_ms + figures.backward_ms));
  out += line("step latency: ", duration_text(figures.update_ms));
  out += line("iter latency: ", duration_text(iteration));
  out += line(fmt::format("FLOPS per GPU = {:g} * fwd flops per GPU / iter latency: ", factor + 1.0),
              rate_text((factor + 1.0) * model.flops, iteration));
  const double seconds = iteration / 1e3;
  return out +
         line("samples/second: ", seconds > 0.0 ? two_decimals(static_cast<double>(figures.samples) / seconds) : "0");
}

/// The modules of one class at one depth, together.
struct ClassTotal {
  std::string class_name;
  double params = 0.0, macs = 0.0;
  std::optional<double> forward_ms;
};
using Depths = std::vector<std::vector<ClassTotal>>;

void collect(const ModuleProfile& module, std::size_t depth, Depths& depths) {
  if (depths.size() <= depth) depths.emplace_back();
  std::vector<ClassTotal>& classes = depths[depth];
  auto total = std::ranges::find(classes, module.class_name, &ClassTotal::class_name);
  if (total == classes.end()) total = classes.insert(classes.end(), ClassTotal{module.class_name, 0.0, 0.0, {}});
  total->params += module.params;
  total->macs += module.macs;
  if (module.forward_ms) total->forward_ms = total->forward_ms.value_or(0.0) + *module.forward_ms;
  for (const ModuleProfile& child : module.children) collect(child, depth + 1, depths);
}

/// "{'LlamaModel': '1.2 M', 'Linear': '33 K'}": the `top` classes with the highest value.
std::string top_text(std::vector<ClassTotal> classes, std::size_t top,
                     const std::function<double(const ClassTotal&)>& value,
                     const std::function<std::string(double)>& text) {
  std::ranges::stable_sort(classes, std::greater<>(), value);
  std::string out;
  for (std::size_t i = 0; i < std::min(top, classes.size()); ++i) {
    out += fmt::format("{}'{}': '{}'", i > 0 ? ", " : "", classes[i].class_name, text(value(classes[i])));
  }
  return "{" + out + "}";
}

std::string aggregated(const ModuleProfile& model, const FlopsProfilerConfig& config) {
  Depths depths;
  collect(model, 0, depths);
  const auto all = static_cast<std::int64_t>(depths.size());
  const std::int64_t shown = config.module_depth < 0 ? all : std::min(all, config.module_depth);
  const auto top = static_cast<std::size_t>(config.top_modules);
  std::string out = fmt::format("Top {} modules in terms of params, MACs or fwd latency at different model depths:\n",
                                config.top_modules);
  for (std::int64_t depth = 0; depth < shown; ++depth) {
    const std::vector<ClassTotal>& classes = depths[static_cast<std::size_t>(depth)];
    std::vector<ClassTotal> timed = classes;
    std::erase_if(timed, [](const ClassTotal& total) { return !total.forward_ms; });
    out += fmt::format("depth {}:\n", depth);
    const auto params = [](const ClassTotal& total) { return total.params; };
    const auto macs = [](const ClassTotal& total) { return total.macs; };
    const auto time = [](const ClassTotal& total) { return total.forward_ms.value_or(0.0); };
    out += fmt::format("    params      - {}\n", top_text(classes, top, params, params_text));
    out += fmt::format("    MACs        - {}\n", top_text(classes, top, macs, macs_text));
    out += fmt::format("    fwd latency - {}\n", top_text(timed, top, time, duration_text));
  }
  return out;
}

/// A module as PyTorch prints one: "(name): Class(figures" and its children, indented.
std::string tree(const ModuleProfile& module, const ModuleProfile& model, std::size_t depth) {
  std::string figures = fmt::format("{} = {}% Params, {} = {}% MACs", params_text(module.params),
                                    two_decimals(percent(module.params, model.params)), macs_text(module.macs),
                                    two_decimals(percent(module.macs, model.macs)));
  if (module.forward_ms) {
    figures += fmt::format(", {} = {}% latency, {}", duration_text(*module.forward_ms),
                           two_decimals(percent(*module.forward_ms, model.forward_ms.value_or(0.0))),
                           rate_text(module.flops, *module.forward_ms));
  }
  if (!module.sizes.empty()) figures += ", " + module.sizes;
  const std::string indent(2 * depth, ' ');
  const std::string name = module.name.empty() ? "" : fmt::format("({}): ", module.name);
  if (module.children.empty()) return fmt::format("{}{}{}({})\n", indent, name, module.class_name, figures);
  std::string out = fmt::format("{}{}{}(\n{}  {}\n", indent, name, module.class_name, indent, figures);
  for (const ModuleProfile& child : module.children) out += tree(child, model, depth + 1);
  return out + indent + ")\n";
}

}  // namespace

std::string short_number(double value) {
  constexpr std::pair<double, std::string_view> kUnits[] = {{1e12, "T"}, {1e9, "G"}, {1e6, "M"},
                                                            {1e3, "K"},  {1.0, ""},  {1e-3, "m"}};
  if (value == 0.0) return "0 ";
  for (const auto& [magnitude, unit] : kUnits) {
    if (value >= magnitude) return fmt::format("{} {}", two_decimals(value / magnitude), unit);
  }
  return fmt::format("{} u", two_decimals(value / 1e-6));
}

std::string flops_report(const FlopsFigures& figures, const FlopsProfilerConfig& config) {
  std::string out = fmt::format(
      "\n-------------------------- DeepSpeed Flops Profiler --------------------------\n"
      "Profile Summary at step {}:\n"
      "Notations:\n"
      "data parallel size (dp_size), model parallel size(mp_size),\n"
      "number of parameters (params), number of multiply-accumulate operations(MACs),\n"
      "number of floating-point operations (flops), floating-point operations per second (FLOPS),\n"
      "fwd latency (forward propagation latency), bwd latency (backward propagation latency),\n"
      "step (weights update latency), iter latency (sum of fwd, bwd and step latency)\n\n",
      figures.step);
  out += summary(figures, config);
  out += "\n----------------------------- Aggregated Profile per GPU -----------------------------\n";
  out += aggregated(figures.model, config);
  if (config.detailed) {
    out +=
        "\n------------------------------ Detailed Profile per GPU ------------------------------\n"
        "Each module profile is listed after its name in the following order: \n"
        "params, percentage of total params, MACs, percentage of total MACs, fwd latency, percentage of total fwd "
        "latency, fwd FLOPS\n\n"
        "Note: latency is measured for the embedding, every layer and the head, not inside a layer. Flops are counted "
        "from shapes; attention counts the pairs of tokens that the causal mask lets see each other.\n\n";
    out += tree(figures.model, figures.model, 0);
  }
  return out + "------------------------------------------------------------------------------\n";
}

}  // namespace llama_zero
