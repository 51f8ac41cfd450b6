#include "launcher/lab/lab_report_command.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"
#include "launcher/lab/lab_parts.h"
#include "launcher/progress.h"

namespace llama_zero {
namespace {

struct Lab {
  std::vector<lab::Section> sections;
  std::vector<lab::Run> runs;  ///< of all parts
};

Lab read_lab(const fs::path& folder) {
  Lab all;
  const auto part = [&](const char* name, auto&& make) {
    const fs::path part_folder = folder / name;
    if (!fs::is_directory(part_folder)) return;
    const std::vector<lab::Run> runs = lab::read_runs(part_folder);
    all.sections.push_back(make(part_folder, runs));
    all.runs.insert(all.runs.end(), runs.begin(), runs.end());
  };
  using Runs = std::vector<lab::Run>;
  part(lab::kReportFolder, [](const fs::path& path, const Runs&) { return lab::report_section(path); });
  part(lab::kTrainingFolder, [](const fs::path& path, const Runs& runs) { return lab::training_section(path, runs); });
  part(lab::kMemoryFolder, [](const fs::path&, const Runs& runs) { return lab::memory_section(runs); });
  part(lab::kSweepFolder, [](const fs::path&, const Runs& runs) { return lab::sweep_section(runs); });
  part(lab::kScalingFolder, [](const fs::path&, const Runs& runs) { return lab::scaling_section(runs); });
  return all;
}

lab::PageFacts facts_of(const std::vector<lab::Run>& runs) {
  lab::PageFacts facts{"no run finished", "-", "-"};
  int least = 0, most = 0;
  for (const lab::Run& run : runs) {
    if (!run.finished()) continue;
    if (most == 0) {
      facts.model = fmt::format("{}, {} parameters", run.model, format_count(run.parameters));
      facts.device = run.device;
      least = run.ranks;
    }
    least = std::min(least, run.ranks);
    most = std::max(most, run.ranks);
  }
  if (most > 0) facts.ranks = least == most ? fmt::format("{}", most) : fmt::format("{} to {}", least, most);
  return facts;
}

void write_file(const fs::path& path, const std::string& text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

}  // namespace

void run_lab_report(const LabReportArguments& arguments) {
  Lab all = read_lab(arguments.input);
  require(!all.sections.empty(), "{} holds no part of the lab: scripts/lab makes them", arguments.input.string());
  all.sections.push_back(lab::seven_billion_section(all.runs));
  const fs::path page = arguments.output.empty() ? arguments.input / "lab.html" : arguments.output;
  const fs::path folder = page.has_parent_path() ? page.parent_path() : fs::path(".");
  create_folder(folder);
  for (const lab::Section& section : all.sections) {
    write_stdout(section.title() + "\n\n");
    for (const auto& [name, table] : section.tables()) {
      write_stdout(lab::as_text(table) + "\n");
      write_file(folder / (name + ".csv"), lab::as_csv(table));
    }
  }
  write_file(page, lab::page(facts_of(all.runs), all.sections));
  write_stdout("page: " + page.string() + "\n");
}

}  // namespace llama_zero
