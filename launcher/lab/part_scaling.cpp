// The lab's fourth notebook: speed on more and more ranks, and what communication costs.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "launcher/lab/lab_chart.h"
#include "launcher/lab/lab_gaps.h"
#include "launcher/lab/lab_parts.h"

namespace llama_zero::lab {
namespace {

struct Scaling {
  std::map<int, std::map<int, const Run*>> by_stage;  ///< stage, then ranks
  std::set<int> ranks;

  bool one_rank() const { return ranks == std::set{1}; }

  /// Times as fast as one rank; nothing without a run of one.
  std::optional<double> speedup(const Run& run) const {
    const auto& of_stage = by_stage.at(run.stage);
    const auto one = of_stage.find(1);
    if (one == of_stage.end() || tokens_per_second(*one->second) <= 0.0) return std::nullopt;
    return tokens_per_second(run) / tokens_per_second(*one->second);
  }

  template <typename Use>
  void each(Use&& use) const {
    for (const auto& [stage, by_ranks] : by_stage) {
      for (const auto& [count, run] : by_ranks) use(*run);
    }
  }
};

Scaling arrange(const std::vector<Run>& runs) {
  Scaling scaling;
  for (const Run& run : runs) {
    scaling.by_stage[run.stage][run.ranks] = &run;
    scaling.ranks.insert(run.ranks);
  }
  return scaling;
}

// The lab's author had one GPU: these were guesses.
std::string labs_guess(const Run& run) {
  if (run.ranks != 4) return "";
  if (run.stage == 2) return "3.6";
  return run.stage == 3 ? "3.4" : "";
}

std::string cell(std::optional<double> value, const char* format) {
  return value ? fmt::format(fmt::runtime(format), *value) : "-";
}

Table scaling_table(const Scaling& scaling) {
  Table table{.title = "Speed by stage and ranks, the same global batch",
              .columns = {{"run", false},
                          {"ranks"},
                          {"step (ms)"},
                          {"tokens/s"},
                          {"times one rank"},
                          {"the lab's guess"},
                          {"of ideal (%)"},
                          {"communication (%)"},
                          {"waiting (%)"},
                          {"memory (MB)"}},
              .rows = {}};
  scaling.each([&](const Run& run) {
    const std::optional<double> times = scaling.speedup(run);
    std::optional<double> of_ideal;
    if (times) of_ideal = 100.0 * *times / run.ranks;
    table.rows.push_back({stage_name(run), fmt::format("{}", run.ranks), fmt::format("{:.1f}", median_step_ms(run)),
                          fmt::format("{:.0f}", tokens_per_second(run)), cell(times, "{:.2f}"), labs_guess(run),
                          cell(of_ideal, "{:.0f}"), fmt::format("{:.1f}", communication_percent(run)),
                          fmt::format("{:.1f}", waiting_percent(run)),
                          megabytes(static_cast<double>(run.measured.peak_bytes))});
  });
  return table;
}

// What a rank sends to others. The account has what it gives: its piece, which goes to all others, or all its pieces,
// of which it keeps one.
double sent_bytes(const std::string& kind, double given, int ranks) {
  if (kind == "all_gather") return given * (ranks - 1);
  if (kind == "all_to_all") return given * (ranks - 1) / ranks;
  return given;
}

Table traffic_table(const Scaling& scaling) {
  Table table{.title = "Collectives of rank 0, an optimizer step",
              .columns = {{"run", false},
                          {"ranks"},
                          {"collective", false},
                          {"calls"},
                          {"sent (MB)"},
                          {"sent a parameter (bytes)"},
                          {"time (ms)"},
                          {"waited (ms)"}},
              .rows = {}};
  scaling.each([&](const Run& run) {
    if (run.steps.empty() || run.parameters == 0) return;
    const auto steps = static_cast<double>(run.steps.size());
    for (const auto& [kind, traffic] : run.collectives) {
      const double sent = sent_bytes(kind, traffic.bytes, run.ranks) / steps;
      table.rows.push_back({stage_name(run), fmt::format("{}", run.ranks), kind,
                            fmt::format("{:.1f}", traffic.calls / steps), megabytes(sent),
                            fmt::format("{:.2f}", sent / static_cast<double>(run.parameters)),
                            fmt::format("{:.2f}", traffic.ms / steps), fmt::format("{:.2f}", traffic.wait_ms / steps)});
    }
  });
  return table;
}

std::string speedup_chart(const Scaling& scaling) {
  std::vector<Line> lines;
  for (const auto& [stage, by_ranks] : scaling.by_stage) {
    Line line{stage_name(*by_ranks.begin()->second), {}, LineStyle::kSolid, true};
    for (const auto& [ranks, run] : by_ranks) {
      if (const auto times = scaling.speedup(*run)) line.points.emplace_back(ranks, *times);
    }
    lines.push_back(std::move(line));
  }
  if (scaling.ranks.contains(4)) lines.push_back({"the lab's guesses", {{4.0, 3.4}, {4.0, 3.6}}, LineStyle::kPoints});
  Line ideal{"ideal", {}, LineStyle::kDashed};
  for (const int ranks : scaling.ranks) ideal.points.emplace_back(ranks, ranks);
  lines.push_back(std::move(ideal));
  return line_chart({"Speed against one rank", "ranks", "times as fast as one rank"}, lines);
}

template <typename Value>
std::string columns(const Scaling& scaling, const Frame& frame, Value&& value) {
  std::vector<std::string> series;
  for (const auto& [stage, by_ranks] : scaling.by_stage) series.push_back(stage_name(*by_ranks.begin()->second));
  std::vector<Group> groups;
  for (const int ranks : scaling.ranks) {
    Group group{fmt::format("{}", ranks), {}};
    for (const auto& [stage, by_ranks] : scaling.by_stage) {
      const auto found = by_ranks.find(ranks);
      group.values.push_back(found == by_ranks.end() ? 0.0 : value(*found->second));
    }
    groups.push_back(std::move(group));
  }
  return column_chart(frame, series, groups);
}

// On one rank alone there is no speed-up and no communication to show.
std::vector<std::string> charts_of(const Scaling& scaling) {
  std::vector<std::string> charts;
  if (!scaling.one_rank()) charts.push_back(speedup_chart(scaling));
  charts.push_back(columns(scaling, {"Tokens a second", "ranks", "tokens/s"}, tokens_per_second));
  if (!scaling.one_rank()) {
    charts.push_back(columns(scaling, {"Time in collectives, waiting included", "ranks", "share of a step (%)"},
                             communication_percent));
  }
  charts.push_back(columns(scaling, {"Memory of one rank", "ranks", "memory (MB)"},
                           [](const Run& run) { return static_cast<double>(run.measured.peak_bytes) / 1e6; }));
  return charts;
}

void add_headline(Section& section, const Scaling& scaling) {
  double most = 0.0;
  const Run* best = nullptr;
  scaling.each([&](const Run& run) {
    const std::optional<double> times = scaling.speedup(run);
    if (run.stage == 0 || run.ranks == 1 || !times || *times <= most) return;
    most = *times;
    best = &run;
  });
  if (best == nullptr) return;
  section.headline(fmt::format("{:.2f}×", most),
                   fmt::format("one rank's speed: {} on {} ranks", stage_name(*best), best->ranks));
}

void introduce(Section& section, const Scaling& scaling, const std::vector<Run>& runs) {
  section.paragraph(fmt::format("Model: {}. {}", runs.front().model,
                                scaling.one_rank()
                                    ? "There was one rank, so only the stages are compared, and what each costs alone."
                                    : "The same global batch is shared by more and more ranks."));
  if (scaling.ranks.contains(4)) {
    section.paragraph("The dots at four ranks are what the lab guessed: 3.6 times for ZeRO-2, 3.4 times for ZeRO-3.");
  } else {
    section.paragraph(
        "The lab guessed 3.6 times (ZeRO-2) and 3.4 times (ZeRO-3) on four GPUs; here there were fewer, so its "
        "guesses stand unanswered.");
  }
  if (on_cpu(runs.front())) {
    section.paragraph(
        "On this CPU each rank computes with one thread, so ranks can only help up to the number of cores; beyond "
        "it they take turns, and speed stays where it is. The device line at the top of the page has the cores.");
  }
}

}  // namespace

Section scaling_section(const std::vector<Run>& all) {
  Section section("scaling", "04 Performance: speed and communication");
  if (has_no_runs(section, all)) return section;
  explain_failures(section, all);
  name_left_out(section, all);
  const std::vector<Run> runs = finished(all);
  if (runs.empty()) return section;
  const Scaling scaling = arrange(runs);
  introduce(section, scaling, runs);
  section.charts(charts_of(scaling));
  section.table("scaling", scaling_table(scaling));
  section.paragraph(
      "Communication is the time that rank 0's collectives take, and so also what they wait for slower ranks; "
      "waiting is the part of it for which the computation stood still. Both are in the account that every run "
      "keeps (`metrics.jsonl`, `summary.json`).");
  Table traffic = traffic_table(scaling);
  if (traffic.rows.empty()) {
    section.paragraph("One rank has nobody to exchange with: its collectives move nothing.");
  } else {
    section.table("collectives", std::move(traffic), true);
  }
  section.paragraph(
      "Of the 2 bytes of each gradient a rank sends (N - 1) / N, and as much of 16-bit weights. Stages 0 to 2 "
      "gather the weights after the step, ZeRO-3 before they are used: once where `stage3_max_live_parameters` and "
      "`stage3_max_reuse_distance` let them stay, in forward and again in backward where not, which is ZeRO's half "
      "more communication.");
  add_headline(section, scaling);
  return section;
}

}  // namespace llama_zero::lab
