#include "launcher/bundled.h"

#include <fmt/format.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "core/error.h"
#include "data/sample/generator.h"

namespace llama_zero {
namespace {

bool holds(const fs::path& path, const std::string& text) {
  std::error_code error;
  if (fs::file_size(path, error) != text.size() || error) return false;
  return MappedFile(path).text() == text;
}

// True when the file had to be written.
bool write_unless_same(const fs::path& path, const std::string& text) {
  if (holds(path, text)) return false;
  AtomicFile file(path);
  file.write(text);
  file.commit();
  return true;
}

std::vector<fs::path> cache_folders() {
  // data/sample/tokenizer.model -> data/cache
  std::vector<fs::path> folders = {bundled_tokenizer().parent_path().parent_path() / "cache"};
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache != nullptr && *cache != '\0') {
    folders.push_back(fs::path(cache) / "llama_zero");
  } else if (const char* home = std::getenv("HOME"); home != nullptr && *home != '\0') {
    folders.push_back(fs::path(home) / ".cache" / "llama_zero");
  }
  return folders;
}

}  // namespace

fs::path bundled_tokenizer() {
  const fs::path name = fs::path("data") / "sample" / "tokenizer.model";
  const fs::path beside = executable_folder();
  const std::vector<fs::path> folders = {fs::path("."), beside, beside.parent_path(),
                                         beside.parent_path().parent_path()};
  std::string places;
  for (const fs::path& folder : folders) {
    std::error_code error;
    const fs::path path = (folder / name).lexically_normal();
    if (fs::is_regular_file(path, error)) return path;
    places += fmt::format("{}{}", places.empty() ? "" : ", ", path.string());
  }
  fail("the bundled tokenizer is in none of {}; give --tokenizer", places);
}

SampleFiles bundled_sample() {
  std::string reasons;
  for (const fs::path& folder : cache_folders()) {
    try {
      return write_sample(folder);
    } catch (const Error& error) {
      reasons += fmt::format("{}{}", reasons.empty() ? "" : "; ", error.what());
    }
  }
  fail("the bundled sample cannot be written anywhere: {}", reasons);
}

SampleFiles write_sample(const fs::path& folder) {
  SampleFiles files{folder / "train.jsonl", folder / "held_out.jsonl"};
  const sample::Sample rows = sample::generate();
  create_folder(folder);
  const bool train = write_unless_same(files.train, sample::to_json_lines(rows.train));
  const bool held_out = write_unless_same(files.held_out, sample::to_json_lines(rows.held_out));
  files.written = train || held_out;
  return files;
}

}  // namespace llama_zero
