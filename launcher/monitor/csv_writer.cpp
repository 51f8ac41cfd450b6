#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <map>
#include <vector>

#include "core/error.h"
#include "launcher/monitor/append_file.h"
#include "launcher/monitor/scalar_writer.h"

namespace llama_zero {
namespace {

std::string file_name(std::string tag) {
  std::ranges::replace_if(
      tag, [](char c) { return c == '/' || c == ' '; }, '_');
  return tag + ".csv";
}

std::string_view last_part(std::string_view tag) {
  const std::size_t slash = tag.rfind('/');
  return slash == std::string_view::npos ? tag : tag.substr(slash + 1);
}

bool is_point(std::string_view line, std::int64_t last_samples) {
  std::int64_t samples = 0;
  const auto [end, code] = std::from_chars(line.data(), line.data() + line.size(), samples);
  return code == std::errc() && end != line.data() + line.size() && *end == ',' && samples <= last_samples;
}

/// The header and the points up to `last_samples`; no line that a crash has cut short, no further header.
std::string lines_to_keep(std::string_view text, std::int64_t last_samples) {
  std::string kept;
  for (std::size_t end = text.find('\n'); end != std::string_view::npos; end = text.find('\n')) {
    const std::string_view line = text.substr(0, end + 1);
    if (kept.empty() ? line.starts_with("step,") : is_point(line, last_samples)) kept += line;
    text.remove_prefix(end + 1);
  }
  return kept;
}

/// Of every curve in the folder, also those that the resumed run does not write.
void cut_curves(const fs::path& folder, std::int64_t last_samples) {
  std::vector<fs::path> curves;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (name.starts_with("Train_Samples_") && name.ends_with(".csv")) curves.push_back(entry->path());
  }
  require(!error, "cannot read {}: {}", folder.string(), error.message());
  for (const fs::path& path : curves) {
    const MappedFile before(path);
    const std::string kept = lines_to_keep(before.text(), last_samples);
    if (kept == before.text()) continue;
    AtomicFile after(path);
    after.write(kept);
    after.commit();
  }
}

class CsvWriter final : public ScalarWriter {
 public:
  CsvWriter(const fs::path& folder, LastSamples resumed_at) : folder_(folder), resumed_(resumed_at.has_value()) {
    create_folder(folder);
    if (::access(folder.c_str(), W_OK) != 0) fail_errno(errno, fmt::format("cannot write to {}", folder.string()));
    if (resumed_at) cut_curves(folder, *resumed_at);
  }

  std::string_view name() const override { return "csv_monitor"; }

  void write(std::span<const Scalar> scalars) override {
    for (const Scalar& scalar : scalars) {
      file_of(scalar.tag).write(fmt::format("{},{}\n", scalar.samples, scalar.value));
    }
  }

 private:
  AppendFile& file_of(const std::string& tag) {
    const auto found = files_.find(tag);
    if (found != files_.end()) return found->second;
    const fs::path path = folder_ / file_name(tag);
    AppendFile& file = files_.emplace(tag, AppendFile(path)).first->second;
    if (!resumed_ || fs::file_size(path) == 0) file.write(fmt::format("step,{}\n", last_part(tag)));
    return file;
  }

  fs::path folder_;
  bool resumed_;
  std::map<std::string, AppendFile> files_;
};

}  // namespace

std::unique_ptr<ScalarWriter> make_csv_writer(const fs::path& folder, LastSamples resumed_at) {
  return std::make_unique<CsvWriter>(folder, resumed_at);
}

}  // namespace llama_zero
