#include <doctest/doctest.h>

#include <chrono>
#include <filesystem>
#include <string>

#include "core/files.h"
#include "launcher/plan_command.h"
#include "test_config_support.h"
#include "tests/support/source_folder.h"

using namespace llama_zero;
using namespace llama_zero::config_test;

namespace {

PlanArguments arguments_of(const std::vector<std::string>& sets, int ranks) {
  PlanArguments arguments;
  arguments.train.flags = set_flags(sets);
  arguments.train.flags.overrides.push_back(parse_set("llama_zero.device=cpu"));
  arguments.ranks = ranks;
  return arguments;
}

PlanArguments seven_billion(int stage, int ranks) {
  return arguments_of({"llama_zero.model=llama2-7b", "zero_optimization.stage=" + std::to_string(stage)}, ranks);
}

/// The rest of the line that starts with `label`.
std::string header(std::string_view text, std::string_view label) {
  const std::size_t begin = text.find(label) + label.size();
  return std::string(text.substr(begin, text.find('\n', begin) - begin));
}

std::size_t label_of(const PlanResult& plan, const char* label) { return plan.forecast.device.at_peak.at(label); }

}  // namespace

TEST_CASE("plan accepts every valid config of the corpus and rejects the others with the same words") {
  int valid = 0;
  for (const auto& entry : fs::directory_iterator(test::source_folder() / "tests/data/configs")) {
    const std::string text(MappedFile(entry.path()).text());
    PlanArguments arguments = arguments_of({}, std::stoi(header(text, "// ranks: ")));
    arguments.train.config = entry.path();
    const std::string expected = header(text, "// expect: ");
    const std::string message = message_of([&] { make_plan(arguments); });
    INFO(entry.path().filename().string(), ": ", expected, " -> ", message);
    if (expected.starts_with("error: ")) {
      CHECK(contains(message, expected.substr(7)));
    } else {
      CHECK(message == "");
      valid += 1;
    }
  }
  CHECK(valid >= 20);
}

TEST_CASE("Llama-2 7B on 8 ranks: the states follow the stage table, to the padding of the units") {
  // 2 bytes of weights, 2 of gradients, 12 of masters and moments for each of 6,738,415,616 parameters.
  const double params = 6738415616.0;
  for (int stage = 0; stage <= 3; ++stage) {
    const PlanResult plan = make_plan(seven_billion(stage, 8));
    const auto share = [&](int from_stage) { return stage >= from_stage ? params / 8 : params; };
    INFO("stage " << stage);
    CHECK(static_cast<double>(label_of(plan, "weights")) == doctest::Approx(2.0 * share(3)).epsilon(1e-4));
    CHECK(static_cast<double>(label_of(plan, "gradients")) == doctest::Approx(2.0 * share(2)).epsilon(1e-4));
    CHECK(static_cast<double>(label_of(plan, "optimizer")) == doctest::Approx(12.0 * share(1)).epsilon(1e-4));
  }
}

TEST_CASE("a plan of 7B takes less than two seconds, its advice included") {
  const auto start = std::chrono::steady_clock::now();
  PlanArguments arguments = seven_billion(0, 4);
  arguments.memory_gb = 24;
  const PlanResult plan = make_plan(arguments);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  CHECK_FALSE(plan.fits());
  CHECK_FALSE(plan.advice.alone.empty());
  MESSAGE("7B plan with advice: " << seconds << " s");
  CHECK(seconds < 2.0);
}

TEST_CASE("the bytes that advice promises are those of a plan with the change made") {
  PlanArguments arguments = seven_billion(0, 4);
  arguments.memory_gb = 80;
  const PlanResult plan = make_plan(arguments);
  REQUIRE_FALSE(plan.fits());
  REQUIRE(plan.advice.alone.front().fits);
  const std::string change = plan.advice.alone.front().change;
  REQUIRE(change.starts_with("zero_optimization.stage "));
  PlanArguments changed = seven_billion(change.back() - '0', 4);
  changed.train.flags.overrides.push_back(
      parse_set("llama_zero.max_tokens_per_pass=" + std::to_string(plan.plan_case.max_tokens_per_pass)));
  CHECK(make_plan(changed).forecast.device.peak_bytes == plan.advice.alone.front().bytes);
}

TEST_CASE("an automatic pass limit shrinks until the plan fits; a given one stays") {
  PlanArguments arguments = arguments_of({"llama_zero.model=125m", "train_batch_size=64"}, 1);
  const std::size_t roomy = make_plan(arguments).forecast.device.peak_bytes;
  arguments.memory_gb = 0.9 * static_cast<double>(roomy) / (1U << 30U);
  const PlanResult shrunk = make_plan(arguments);
  CHECK(shrunk.fits());
  CHECK(shrunk.plan_case.max_tokens_per_pass < kMostTokensPerPass);
  arguments.train.flags.overrides.push_back(parse_set("llama_zero.max_tokens_per_pass=8192"));
  CHECK_FALSE(make_plan(arguments).fits());
}

TEST_CASE("checkpointing, micro batch, sequence length and stage each change the plan") {
  const auto bytes = [](const std::vector<std::string>& more) {
    std::vector<std::string> sets = {"llama_zero.model=125m", "llama_zero.coalesce=false", "zero_optimization.stage=1",
                                     "train_micro_batch_size_per_gpu=4"};
    sets.insert(sets.end(), more.begin(), more.end());
    return make_plan(arguments_of(sets, 2)).forecast.device.peak_bytes;
  };
  const std::size_t base = bytes({});
  CHECK(bytes({"activation_checkpointing.mode=none"}) > base);
  CHECK(bytes({"activation_checkpointing.mode=full"}) < base);
  CHECK(bytes({"train_micro_batch_size_per_gpu=8"}) > base);
  CHECK(bytes({"llama_zero.sequence_length=1024"}) > base);
  CHECK(bytes({"zero_optimization.stage=0"}) > base);
  CHECK(bytes({"zero_optimization.stage=3", "zero_optimization.stage3_max_reuse_distance=0"}) < base);
}

TEST_CASE("a batch that the ranks do not divide is refused with the ranks of the plan") {
  const std::string message = message_of([] { make_plan(arguments_of({"train_batch_size=10"}, 4)); });
  CHECK(contains(message, "train_batch_size 10 !="));
  CHECK(contains(message, "x 4 ranks;"));
}

TEST_CASE("ranks are spread over hosts evenly, and a split that does not divide is refused") {
  CHECK(make_plan(arguments_of({}, 12)).ranks_per_host == 6);
  CHECK(make_plan(arguments_of({}, 16)).ranks_per_host == 8);
  PlanArguments arguments = arguments_of({}, 6);
  arguments.ranks_per_host = 4;
  CHECK(contains(message_of([&] { make_plan(arguments); }), "6 ranks cannot be 4 on every host"));
}

TEST_CASE("the page has the table, both sets of formulas and the verdict") {
  PlanArguments arguments = seven_billion(3, 8);
  arguments.memory_gb = 80;
  const std::string page = format_plan(make_plan(arguments));
  for (const char* part :
       {"llama2-7b: 32 layers", "8, 8 on each host", "stage 3: ", "16 P = 100.41 GB", "2 P + 14 P / N = 23.53 GB",
        "SW: Model with 6738M total params, 131M largest layer params.", "a host of 8 ranks", "yes: "}) {
    INFO(part << " in\n" << page);
    CHECK(contains(page, part));
  }
  arguments.memory_gb = 1;
  CHECK(contains(format_plan(make_plan(arguments)), "no: "));
}

TEST_CASE("plan takes every option of training and its own; report takes none") {
  const auto parse = [](std::vector<const char*> words) {
    words.insert(words.begin(), "llama_zero");
    return parse_command_line(static_cast<int>(words.size()), words.data());
  };
  const CommandLine line = parse({"plan", "--config", "x.json", "--ranks", "16", "--model", "125m", "--ranks-per-host",
                                  "4", "--memory", "80", "--micro-batch", "2"});
  CHECK(line.command == Command::kPlan);
  CHECK(line.plan.ranks == 16);
  CHECK(line.plan.ranks_per_host == 4);
  CHECK(line.plan.memory_gb == 80.0);
  CHECK(line.plan.train.config == fs::path("x.json"));
  CHECK(line.plan.train.flags.overrides.size() == 2);
  CHECK(parse({"report"}).command == Command::kReport);
  CHECK(contains(message_of([&] { parse({"--model", "tiny", "report"}); }), "--model"));
  CHECK(contains(message_of([&] { parse({"plan", "--ranks", "0"}); }), "--ranks"));
}
