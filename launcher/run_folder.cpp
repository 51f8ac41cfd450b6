#include "launcher/run_folder.h"

#include <fmt/format.h>

#include <cctype>

#include "core/error.h"

namespace llama_zero {
namespace {

constexpr int kMostRuns = 1000000;

// mkdir is atomic, so two runs that start together get two numbers.
fs::path claim_numbered(const fs::path& parent, const std::string& name) {
  create_folder(parent);
  for (int number = 1; number < kMostRuns; ++number) {
    const fs::path path = parent / fmt::format("{}-{}", name, number);
    std::error_code error;
    if (fs::create_directory(path, error)) return path;
    require(!error || fs::exists(path), "cannot create {}: {}", path.string(), error.message());
  }
  fail("{} has no free number for '{}'; give --output", parent.string(), name);
}

void prove_writable(const fs::path& folder) {
  AtomicFile file(folder / "write-test");
  file.write("x");
  // Not committed: the temporary file is removed.
}

}  // namespace

RunFolder RunFolder::create(const std::string& output, const std::string& name, const std::string& default_name) {
  fs::path path = !output.empty() ? fs::path(output) : fs::path("runs") / name;
  if (output.empty() && name.empty()) {
    path = claim_numbered("runs", default_name);
  } else {
    create_folder(path);
  }
  prove_writable(path);
  return RunFolder(path);
}

std::string folder_name(std::string_view text) {
  fs::path path = fs::path(text).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  std::string name = path.filename().string();
  for (char& c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '.' && c != '_') c = '-';
  }
  return name.empty() || name == "." || name == ".." ? "run" : name;
}

}  // namespace llama_zero
