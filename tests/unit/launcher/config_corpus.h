// tests/data/configs: each file says in its first two lines on how many ranks it is resolved and what comes of it.
#pragma once

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "core/files.h"
#include "test_config_support.h"
#include "tests/support/source_folder.h"

namespace llama_zero::config_test {

/// The rest of the line that starts with `label`.
inline std::string header(std::string_view text, std::string_view label) {
  const std::size_t at = text.find(label);
  REQUIRE(at != std::string_view::npos);
  const std::size_t begin = at + label.size();
  return std::string(text.substr(begin, text.find('\n', begin) - begin));
}

inline std::vector<fs::path> corpus() {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(test::source_folder() / "tests/data/configs")) {
    files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace llama_zero::config_test
