#include "config_corpus.h"
#include "launcher/plan_command.h"

using namespace llama_zero;
using namespace llama_zero::config_test;

TEST_CASE("plan accepts every valid config of the corpus on the tiny model") {
  int planned = 0;
  for (const fs::path& path : corpus()) {
    const std::string text(MappedFile(path).text());
    if (header(text, "// expect: ").starts_with("error: ")) continue;
    PlanArguments arguments;
    arguments.train.config = path;
    arguments.ranks = std::stoi(header(text, "// ranks: "));
    arguments.train.flags.overrides.push_back({"llama_zero.model", "tiny", "--model", true});
    arguments.train.flags.overrides.push_back({"llama_zero.device", "cpu", "--device", true});
    INFO(path.filename().string());
    PlanResult plan;
    CHECK(message_of([&] { plan = make_plan(arguments); }) == "");
    CHECK(plan.forecast.device.peak_bytes > 0);
    CHECK(contains(format_plan(plan), "weights"));
    ++planned;
  }
  CHECK(planned >= 50);
}
