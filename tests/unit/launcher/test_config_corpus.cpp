#include "config_corpus.h"

using namespace llama_zero;
using namespace llama_zero::config_test;

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
