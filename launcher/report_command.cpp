#include "launcher/report_command.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>
#include <sstream>

#include "launcher/progress.h"
#include "launcher/report_libraries.h"
#include "launcher/runtime.h"
#include "launcher/version.h"

namespace llama_zero {
namespace {

/// What a rank tells rank 0, as text.
struct RankReport {
  std::string host, host_lines, process_lines, missing;
};

std::string format_lines(const std::vector<ReportLine>& lines) {
  std::string text;
  for (const ReportLine& line : lines) text += fmt::format("  {:<12}{}\n", line.label, line.text);
  return text;
}

RankReport report_of_this_rank(const MpiWorld& world, const GpuSection& gpus) {
  const HostLimits limits = read_host_limits();
  const int threads =
      threads_per_rank(std::getenv("OMP_NUM_THREADS"), static_cast<int>(cores_of_process().size()), world.local_size());
  RankReport report;
  report.host = host_name();
  report.host_lines = format_lines(describe_host(limits)) + format_lines(gpus.lines);
  report.process_lines = format_lines(describe_process(threads));
  for (const std::string& piece : missing_pieces(limits, gpus)) report.missing += piece + "\n";
  return report;
}

std::string format_libraries(const GpuSection& gpus) {
  std::vector<LibraryVersion> versions = library_versions();
  versions.insert(versions.end(), gpus.libraries.begin(), gpus.libraries.end());
  std::string text = fmt::format("  {:<14} {:<12} {}\n", "library", "compiled", "running");
  for (const LibraryVersion& version : versions) {
    const bool header_only = version.running.empty() && !version.compiled.empty();
    text += fmt::format("  {:<14} {:<12} {}\n", version.name, version.compiled.empty() ? "-" : version.compiled,
                        header_only               ? "-"
                        : version.running.empty() ? "not found"
                                                  : version.running);
  }
  return text;
}

/// "rank 2", "ranks 0-3".
std::string name_ranks(const std::vector<int>& ranks) {
  return fmt::format("rank{} {}", ranks.size() == 1 ? "" : "s", spell_ranges(ranks));
}

/// A host's facts once, then its ranks; ranks that say the same share their lines.
std::string format_host(const std::vector<RankReport>& reports, const std::vector<int>& ranks) {
  const RankReport& first = reports[static_cast<std::size_t>(ranks.front())];
  std::string text = fmt::format("host {}: {}\n{}", first.host, name_ranks(ranks), first.host_lines);
  std::map<std::string, std::vector<int>> by_lines;
  for (const int rank : ranks) by_lines[reports[static_cast<std::size_t>(rank)].process_lines].push_back(rank);
  std::vector<std::pair<std::vector<int>, std::string>> groups;
  for (auto& [lines, members] : by_lines) groups.emplace_back(members, lines);
  std::ranges::sort(groups);
  for (const auto& [members, lines] : groups)
    text += fmt::format("{} of host {}\n{}", name_ranks(members), first.host, lines);
  return text;
}

std::string format_missing(const std::vector<RankReport>& reports) {
  std::set<std::string> pieces;
  for (const RankReport& report : reports) {
    std::istringstream in(report.missing);
    for (std::string piece; std::getline(in, piece);) {
      pieces.insert(piece);
    }
  }
  if (pieces.empty()) return "missing: nothing\n";
  std::string text = "missing\n";
  for (const std::string& piece : pieces) text += "  - " + piece + "\n";
  return text + "  What the build itself needs, `make deps` installs.\n";
}

std::vector<RankReport> gather(const HostGroup& group, const RankReport& mine) {
  std::vector<RankReport> reports(static_cast<std::size_t>(group.size()));
  for (std::string RankReport::*field :
       {&RankReport::host, &RankReport::host_lines, &RankReport::process_lines, &RankReport::missing}) {
    const std::vector<std::string> all = group.from_all(mine.*field);
    for (std::size_t rank = 0; rank < all.size(); ++rank) reports[rank].*field = all[rank];
  }
  return reports;
}

std::string format_report(const std::vector<RankReport>& reports, const GpuSection& gpus) {
  std::string text = fmt::format("llama_zero {}: {}\n\n{}\n", kVersion, describe_build(), format_libraries(gpus));
  text += format_op_table(op_table(gpus)) + "\n";
  const int slots = mpi_slots();
  text += fmt::format("{} rank{}{}\n", reports.size(), reports.size() == 1 ? "" : "s",
                      slots > 0 ? fmt::format(", {} slot{}", slots, slots == 1 ? "" : "s") : "");
  std::vector<std::string> hosts;
  std::map<std::string, std::vector<int>> ranks;
  for (std::size_t rank = 0; rank < reports.size(); ++rank) {
    std::vector<int>& members = ranks[reports[rank].host];
    if (members.empty()) hosts.push_back(reports[rank].host);
    members.push_back(static_cast<int>(rank));
  }
  for (const std::string& host : hosts) text += format_host(reports, ranks[host]);
  return text + "\n" + format_missing(reports);
}

}  // namespace

int run_report(const HostGroup& group, const MpiWorld& world) {
  GpuSection gpus;
  RankReport mine;
  group.together([&] {
    gpus = describe_gpus();
    mine = report_of_this_rank(world, gpus);
  });
  const std::vector<RankReport> reports = gather(group, mine);
  if (group.rank() == 0) write_stdout(format_report(reports, gpus));
  return 0;
}

}  // namespace llama_zero
