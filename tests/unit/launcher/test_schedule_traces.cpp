// tests/data/traces/schedules.json, which scripts/trace_schedules.py derived from the description of DeepSpeed's
// schedules and compared with DeepSpeed's own: the same config here gives the same rates and momenta.
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "core/files.h"
#include "launcher/schedule.h"
#include "test_config_support.h"

using namespace llama_zero;
using namespace llama_zero::config_test;
using nlohmann::json;

namespace {

/// `values` at the trace's updates are `expected`, and its totals are those of all values. A value is right to 5 units
/// of rounding (2^-53) of the largest one: a logarithm or cosine, a division, a product, a sum.
void check_values(const std::vector<double>& values, const json& updates, const json& expected, const json& totals) {
  double most = 0.0;
  double sum = 0.0;
  double weighted = 0.0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    most = std::max(most, std::fabs(values[i]));
    sum += values[i];
    weighted += static_cast<double>(i + 1) * values[i];
  }
  const double unit = 0x1p-53 * most;
  for (std::size_t i = 0; i < updates.size(); ++i) {
    const auto update = updates[i].get<std::size_t>();
    INFO("update ", update, ": ", values[update - 1], " expected ", expected[i].get<double>());
    CHECK(std::fabs(values[update - 1] - expected[i].get<double>()) <= 5.0 * unit);
  }
  // Summation adds a unit of the sum so far for each of its terms.
  const auto count = static_cast<double>(values.size());
  CHECK(std::fabs(sum - totals[0].get<double>()) <= unit * count * (5.0 + count));
  CHECK(std::fabs(weighted - totals[1].get<double>()) <= unit * count * count * (5.0 + count));
}

}  // namespace

TEST_CASE("300 updates of every schedule run with the rates and momenta derived from its description") {
  const json file =
      json::parse(MappedFile(fs::path(LLAMA_ZERO_SOURCE_DIR) / "tests/data/traces/schedules.json").text());
  CHECK(file["compared"].get<std::string>().starts_with("every value of DeepSpeed's types equals"));
  std::map<std::string, int> seen;
  for (const json& trace : file["traces"]) {
    seen[trace["type"]] += 1;
    json text;
    text["optimizer"] = {{"type", "AdamW"}, {"params", {{"lr", trace["lr"]}}}};
    text["scheduler"] = {{"type", trace["type"]}, {"params", trace["params"]}};
    text["llama_zero"] = {{"max_steps", file["total_updates"]}};
    INFO(text.dump());
    const std::vector<ScheduleRow> rows = schedule_rows(resolve_text(text.dump()));
    REQUIRE(rows.size() == file["total_updates"].get<std::size_t>());
    std::vector<double> rates;
    std::vector<double> momenta;
    for (const ScheduleRow& row : rows) {
      rates.push_back(row.lr);
      momenta.push_back(row.beta1);
    }
    check_values(rates, trace["updates"], trace["rates"], trace["rate_totals"]);
    if (trace.contains("momenta")) {
      check_values(momenta, trace["updates"], trace["momenta"], trace["momentum_totals"]);
      for (const ScheduleRow& row : rows) CHECK(row.beta2 == 0.99);
    } else {
      for (const ScheduleRow& row : rows) CHECK((row.beta1 == 0.9 && row.beta2 == 0.999));
    }
  }
  CHECK(seen.size() == 7);
  for (const auto& [type, count] : seen) CHECK(count >= (type == "constant" ? 2 : 25));
}
