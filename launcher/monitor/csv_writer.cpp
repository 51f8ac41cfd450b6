#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>

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

class CsvWriter final : public ScalarWriter {
 public:
  explicit CsvWriter(const fs::path& folder) : folder_(folder) {
    create_folder(folder);
    if (::access(folder.c_str(), W_OK) != 0) fail_errno(errno, fmt::format("cannot write to {}", folder.string()));
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
    AppendFile& file = files_.emplace(tag, AppendFile(folder_ / file_name(tag))).first->second;
    file.write(fmt::format("step,{}\n", last_part(tag)));
    return file;
  }

  fs::path folder_;
  std::map<std::string, AppendFile> files_;
};

}  // namespace

std::unique_ptr<ScalarWriter> make_csv_writer(const fs::path& folder) { return std::make_unique<CsvWriter>(folder); }

}  // namespace llama_zero
