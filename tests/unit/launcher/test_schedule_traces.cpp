// tests/data/traces/schedules.json, which scripts/trace_schedules.py derived from the description of DeepSpeed's
// schedules and compared with DeepSpeed's own: the same config here gives the same rates and momenta.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/files.h"
#include "launcher/schedule.h"
#include "test_config_support.h"
#include "tests/support/source_folder.h"

using namespace llama_zero;
using namespace llama_zero::config_test;
using nlohmann::json;

namespace {

/// The doubles of a base64 text, little endian.
std::vector<double> unpack(const std::string& text) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::vector<std::byte> bytes;
  std::uint32_t bits = 0;
  int count = 0;
  for (const char digit : text) {
    if (digit == '=') break;
    bits = bits << 6U | static_cast<std::uint32_t>(kDigits.find(digit));
    count += 6;
    if (count < 8) continue;
    count -= 8;
    bytes.push_back(static_cast<std::byte>(bits >> static_cast<unsigned>(count) & 0xffU));
  }
  std::vector<double> values(bytes.size() / sizeof(double));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(double));
  return values;
}

/// Every value is right to 5 units of rounding (2^-53) of the largest one: a logarithm or cosine, a division, a
/// product, a sum.
void check_values(const std::vector<double>& values, const std::vector<double>& expected) {
  REQUIRE(values.size() == expected.size());
  double most = 0.0;
  for (const double value : expected) most = std::max(most, std::fabs(value));
  for (std::size_t i = 0; i < values.size(); ++i) {
    INFO("update ", i + 1, ": ", values[i], " expected ", expected[i]);
    CHECK(std::fabs(values[i] - expected[i]) <= 5.0 * 0x1p-53 * most);
  }
}

}  // namespace

TEST_CASE("300 updates of every schedule run with the rates and momenta derived from its description") {
  const json file = json::parse(MappedFile(test::source_folder() / "tests/data/traces/schedules.json").text());
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
    check_values(rates, unpack(trace["rates"]));
    if (trace.contains("momenta")) {
      check_values(momenta, unpack(trace["momenta"]));
      for (const ScheduleRow& row : rows) CHECK(row.beta2 == 0.99);
    } else {
      for (const ScheduleRow& row : rows) CHECK((row.beta1 == 0.9 && row.beta2 == 0.999));
    }
  }
  CHECK(seen.size() == 7);
  for (const auto& [type, count] : seen) CHECK(count >= (type == "constant" ? 2 : 12));
}
