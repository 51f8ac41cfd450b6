// tests/data/configs: each file says in its first two lines on how many ranks it is resolved and what comes of it.
#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "core/files.h"
#include "launcher/plan_command.h"
#include "test_config_support.h"

using namespace llama_zero;
using namespace llama_zero::config_test;

namespace {

/// The rest of the line that starts with `label`.
std::string header(std::string_view text, std::string_view label) {
  const std::size_t at = text.find(label);
  REQUIRE(at != std::string_view::npos);
  const std::size_t begin = at + label.size();
  return std::string(text.substr(begin, text.find('\n', begin) - begin));
}

std::vector<fs::path> corpus() {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(fs::path(LLAMA_ZERO_SOURCE_DIR) / "tests/data/configs")) {
    files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

TEST_CASE("every config of the corpus ends as its first lines say") {
  const std::vector<fs::path> files = corpus();
  CHECK(files.size() >= 90);
  for (const fs::path& path : files) {
    const std::string text(MappedFile(path).text());
    const int ranks = std::stoi(header(text, "// ranks: "));
    const std::string expected = header(text, "// expect: ");
    std::vector<std::string> warnings;
    const std::string message =
        message_of([&] { warnings = resolve(load_config(path, {}), facts_of(ranks)).warnings; });
    INFO(path.filename().string(), ": ", expected, " -> ", message);
    if (expected.starts_with("error: ")) {
      CHECK(contains(message, expected.substr(7)));
      continue;
    }
    CHECK(message == "");
    if (expected.starts_with("warning: ")) {
      CHECK(any_contains(warnings, expected.substr(9)));
    } else {
      CHECK(expected == "valid");
      for (const std::string& warning : warnings) MESSAGE(warning);
      CHECK(warnings.empty());
    }
  }
}

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
