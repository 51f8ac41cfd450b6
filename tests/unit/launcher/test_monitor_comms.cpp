// comms_logger.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "core/device.h"
#include "launcher/monitor/comms_log.h"
#include "test_config_support.h"

namespace llama_zero::test {
namespace {

using config_test::contains;
using config_test::resolve_text;
using config_test::set_flags;

/// Two collectives in a backward, under a config; what was printed, and the table without its measured columns.
std::string log_of(const std::vector<std::string>& sets) {
  const TrainConfig config = resolve_text(R"({"comms_logger": {"enabled": true}})", 1, set_flags(sets));
  if (!config.monitor.comms.enabled) return "off";
  std::string text;
  CommsLog log(config.monitor.comms, 4, [&](std::string_view line) { text += line.substr(0, line.find('|')); });
  const auto device = make_cpu_device();
  const auto stream = device->create_stream("compute");
  log.at(StepPoint::kBackward, -1, *stream);
  for (const CommCall& call : {CommCall{"all_gather", 2048, stream.get()}, CommCall{"all_to_all", 64, stream.get()}}) {
    log.before(call);
    log.after(call);
  }
  for (const auto& [name, sizes] : log.records()) text += name + ";";
  return text;
}

}  // namespace

TEST_CASE("each comms_logger key changes what is logged") {
  CHECK(log_of({}) == "all_gather;all_to_all;");
  CHECK(log_of({"comms_logger.enabled=false"}) == "off");
  CHECK(log_of({"comms_logger.verbose=true"}) == "comm op: all_gather comm op: all_to_all all_gather;all_to_all;");
  CHECK(log_of({"comms_logger.debug=true"}) ==
        "all_gather | [Caller Func: backward];all_to_all | [Caller Func: backward];");
  CHECK(log_of({"comms_logger.prof_all=false"}) == "");
  CHECK(log_of({"comms_logger.prof_all=false", "comms_logger.prof_ops=[\"all_gather\"]"}) == "all_gather;");
  CHECK(log_of({"comms_logger.prof_all=false", "comms_logger.prof_ops=[\"all_reduce\"]"}) == "all_to_all;");
}

TEST_CASE("a section comms_logger alone switches nothing on, and an unknown collective is warned of") {
  CHECK_FALSE(resolve_text(R"({"comms_logger": {"verbose": true}})").monitor.comms.enabled);
  const TrainConfig config =
      resolve_text(R"({"comms_logger": {"enabled": true, "prof_all": false, "prof_ops": ["all_gater"]}})");
  CHECK(config_test::any_contains(config.warnings, "no collective here is called all_gater"));
  CHECK(contains(config_test::resolve_error(R"({"comms_logger": {"prof_ops": [1]}})"), "must hold strings, not 1"));
}

TEST_CASE("bandwidths follow DeepSpeed's formulas") {
  // 1,000,000 bytes in 1 ms are 8 Gbit/s.
  const Bandwidth gather = bandwidth_of("all_gather", 1000000, 1.0, 4);
  CHECK(gather.algorithm == 32.0);
  CHECK(gather.bus == 24.0);
  const Bandwidth exchange = bandwidth_of("all_to_all", 1000000, 1.0, 4);
  CHECK(exchange.algorithm == 8.0);
  CHECK(exchange.bus == 6.0);
  CHECK(bandwidth_of("broadcast", 1000000, 1.0, 4).bus == 8.0);
  CHECK(bandwidth_of("all_gather", 1000000, 0.0, 4).bus == 0.0);
}

TEST_CASE("the trimmed mean leaves out a tenth at each end") {
  CHECK(trimmed_mean({}) == 0.0);
  CHECK(trimmed_mean({1.0, 2.0, 6.0}) == 3.0);  // round(0.3) = 0
  CHECK(trimmed_mean({100.0, 2.0, 2.0, 2.0, 2.0, 4.0, 4.0, 4.0, 4.0, -100.0}) == 3.0);
  CHECK(trimmed_mean({10.0, 1.0, 1.0, 1.0, 0.0}) == 2.6);  // round(0.5) = 0: halves go to even
}

TEST_CASE("message sizes are printed as DeepSpeed prints them") {
  CHECK(format_message_size(0) == "0B");
  CHECK(format_message_size(512) == "512.0 B");
  CHECK(format_message_size(1536) == "1.5 KB");
  CHECK(format_message_size(std::int64_t{5} << 30) == "5.0 GB");
}

TEST_CASE("the table of collectives counts calls by name and size") {
  CommsLog log(CommsLoggerConfig{}, 2, [](std::string_view) {});
  const auto device = make_cpu_device();
  const auto stream = device->create_stream("compute");
  for (const std::int64_t bytes : {2048, 1024, 2048}) {
    log.before({"all_gather", bytes, stream.get()});
    log.after({"all_gather", bytes, stream.get()});
  }
  log.before({"barrier", 0, nullptr});
  log.after({"barrier", 0, nullptr});
  CHECK(log.records().at("all_gather").at(2048).count == 2);
  const std::string table = log.table();
  CHECK(table.starts_with("Comm. Op            Message Size        Count               Total Latency(ms)   "));
  CHECK(contains(table, "\nall_gather\n                    1.0 KB              1 "));
  CHECK(contains(table, "\n                    2.0 KB              2 "));
  CHECK(contains(table, "\nbarrier\n                    0B                  1 "));
}

}  // namespace llama_zero::test
