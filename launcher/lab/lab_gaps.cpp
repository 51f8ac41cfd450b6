#include "launcher/lab/lab_gaps.h"

#include <fmt/format.h>

namespace llama_zero::lab {

bool has_no_runs(Section& section, const std::vector<Run>& runs) {
  if (!runs.empty()) return false;
  section.paragraph("No run of this part was begun before the page was made.");
  return true;
}

void explain_failures(Section& section, const std::vector<Run>& runs) {
  for (const Run& run : runs) {
    if (run.finished() || run.left_out()) continue;
    section.paragraph(fmt::format("`{}` did not run: {}", run.command, run.failure));
  }
}

void name_left_out(Section& section, const std::vector<Run>& runs) {
  std::string names, why;
  int count = 0;
  for (const Run& run : runs) {
    if (!run.left_out()) continue;
    names += fmt::format("{}`{}`", names.empty() ? "" : ", ", run.name);
    why = run.failure;
    ++count;
  }
  if (count > 0) section.paragraph(fmt::format("{} of {} runs {}: {}.", count, runs.size(), why, names));
}

}  // namespace llama_zero::lab
