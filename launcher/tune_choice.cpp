#include "launcher/tune_choice.h"

#include <fmt/format.h>

namespace llama_zero {

TuneChoice choose_tune_table(const fs::path& path, const std::string& stored,
                             const std::function<std::string(const std::string& text)>& unfit) {
  TuneChoice choice;
  if (!path.empty() && fs::exists(path)) {
    choice.source = TuneSource::kNamed;
    choice.text = std::string(MappedFile(path).text());
    if (!stored.empty() && stored != choice.text) {
      choice.note =
          fmt::format("{} is not the table of the checkpoint: products may be rounded otherwise", path.string());
    }
    return choice;
  }
  if (!stored.empty()) {
    const std::string reason = unfit(stored);
    if (reason.empty()) return {TuneSource::kCheckpoint, stored, "the checkpoint's table is taken up"};
    choice.note = fmt::format("the checkpoint's table is ignored: {}", reason);
  }
  if (!path.empty()) choice.source = TuneSource::kTimed;
  return choice;
}

}  // namespace llama_zero
