// The lab's first notebook: what is installed and what hardware there is.
#include "launcher/lab/lab_parts.h"

namespace llama_zero::lab {

Section report_section(const fs::path& folder) {
  Section section("report", "01 Setup");
  section.paragraph(
      "`llama_zero report` takes the place of `ds_report` and of the lab's GPU check: versions of every library, "
      "and for each host and rank cards, memory, limits and what is missing.");
  if (!fs::exists(folder / "report.txt")) return section;
  section.terminal("llama_zero report", MappedFile(folder / "report.txt").text());
  return section;
}

}  // namespace llama_zero::lab
