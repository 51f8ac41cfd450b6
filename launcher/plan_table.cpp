#include "launcher/plan_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

namespace llama_zero {
namespace {

std::size_t bytes_of(const MemoryReport& report, const std::string& label) {
  const auto found = report.at_peak.find(label);
  return found == report.at_peak.end() ? 0 : found->second;
}

std::vector<std::string> labels_by_size(const MemoryForecast& forecast) {
  std::vector<std::pair<std::size_t, std::string>> sized;
  for (const auto* report : {&forecast.device, &forecast.host}) {
    for (const auto& [label, bytes] : report->at_peak) {
      if (bytes > 0) sized.emplace_back(bytes, label);
    }
  }
  std::ranges::stable_sort(sized, std::greater<>{}, &std::pair<std::size_t, std::string>::first);
  std::vector<std::string> labels;
  for (auto& [bytes, label] : sized) labels.push_back(std::move(label));
  return labels;
}

std::string cell(std::size_t bytes) { return bytes == 0 ? "-" : format_bytes(bytes); }

std::string advice_lines(const std::vector<AdviceLine>& lines, std::string_view joint) {
  std::string text;
  for (const AdviceLine& line : lines) {
    const std::string change = fmt::format("{}{}", text.empty() ? "" : joint, line.change);
    text += fmt::format("  {:<48} {:>12}{}\n", change, format_bytes(line.bytes), line.fits ? "  fits" : "");
  }
  return text;
}

}  // namespace

std::string format_forecast(const MemoryForecast& forecast) {
  const bool with_host = forecast.host.peak_bytes > 0;
  std::string text = with_host ? fmt::format("  {:<24} {:>12} {:>12}\n", "", "device", "host") : "";
  const auto row = [&](std::string_view label, std::size_t device, std::size_t host) {
    text += fmt::format("  {:<24} {:>12}", label, cell(device));
    if (with_host) text += fmt::format(" {:>12}", cell(host));
    text += '\n';
  };
  for (const std::string& label : labels_by_size(forecast)) {
    row(label, bytes_of(forecast.device, label), bytes_of(forecast.host, label));
  }
  row("total", forecast.device.peak_bytes, forecast.host.peak_bytes);
  text.pop_back();
  return text;
}

std::string format_advice(const Advice& advice) {
  std::string text = advice_lines(advice.alone, "");
  if (!advice.together.empty()) text += "together\n" + advice_lines(advice.together, "+ ");
  return text;
}

}  // namespace llama_zero
