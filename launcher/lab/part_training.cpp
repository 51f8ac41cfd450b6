// The lab's second notebook: training with its own ZeRO-2 and ZeRO-3 configs.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "launcher/lab/lab_chart.h"
#include "launcher/lab/lab_gaps.h"
#include "launcher/lab/lab_parts.h"

namespace llama_zero::lab {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kCurvePoints = 240;
/// Why the model was asked nothing, as scripts/lab writes it.
constexpr const char* kNotAsked = "not-asked.txt";

/// What `eval` found of a model.
struct Answers {
  std::string name;  ///< "before", "zero2"
  double loss = 0.0, exact_match = 0.0;
  Json rows = Json::array();
};

Answers read_answers(const fs::path& path) {
  const std::string stem = path.stem().string();
  Answers answers{.name = stem.substr(stem.find('-') + 1)};
  try {
    const Json json = Json::parse(MappedFile(path).text());
    answers.loss = json.at("loss").is_number() ? json.at("loss").get<double>() : std::nan("");
    answers.exact_match = json.at("exact_match").get<double>();
    answers.rows = json.value("answers", Json::array());
  } catch (const Json::exception& error) {
    fail("{} is not what llama_zero eval writes: {}", path.string(), error.what());
  }
  return answers;
}

std::vector<Answers> read_all_answers(const fs::path& folder) {
  std::vector<Answers> all;
  for (const char* name : {"before", "zero2", "zero3"}) {
    const fs::path path = folder / fmt::format("answers-{}.json", name);
    if (fs::exists(path)) all.push_back(read_answers(path));
  }
  return all;
}

// Means of equal stretches of steps, so that a long run is a curve and not a band.
std::vector<std::pair<double, double>> curve(const std::vector<Step>& steps, double Step::*value, double scale) {
  const std::size_t stretch = (steps.size() + kCurvePoints - 1) / kCurvePoints;
  std::vector<std::pair<double, double>> points;
  for (std::size_t begin = 0; begin < steps.size(); begin += stretch) {
    const std::size_t end = std::min(begin + stretch, steps.size());
    double x = 0.0, y = 0.0;
    for (std::size_t i = begin; i < end; ++i) {
      x += static_cast<double>(steps[i].step);
      y += steps[i].*value;
    }
    const auto count = static_cast<double>(end - begin);
    points.emplace_back(x / count, scale * y / count);
  }
  return points;
}

std::string chart_of(const std::vector<Run>& runs, const Frame& frame, double Step::*value, double scale) {
  std::vector<Line> lines;
  for (const Run& run : runs) {
    if (!run.finished()) continue;
    lines.push_back(
        {stage_name(run), curve(run.steps, value, scale), lines.empty() ? LineStyle::kSolid : LineStyle::kDashed});
  }
  return line_chart(frame, lines);
}

std::vector<std::string> row_of(const Run& run, const std::vector<Answers>& answers) {
  if (!run.finished())
    return {run.name, run.left_out() ? run.failure : "failed: " + run.failure, "", "", "", "", "", "", "", ""};
  const auto found = std::ranges::find(answers, run.name, &Answers::name);
  const bool asked = found != answers.end();
  const bool stepped = !run.steps.empty();
  return {stage_name(run),
          fmt::format("{}", run.ranks),
          fmt::format("{}", run.steps.size()),
          stepped ? fmt::format("{:.3f}", run.steps.front().loss) : "-",
          stepped ? fmt::format("{:.3f}", run.steps.back().loss) : "-",
          asked ? fmt::format("{:.3f}", found->loss) : "-",
          asked ? fmt::format("{:.1f}", found->exact_match) : "-",
          fmt::format("{:.0f}", tokens_per_second(run)),
          fmt::format("{:.1f}", run.seconds),
          megabytes(static_cast<double>(run.measured.peak_bytes))};
}

Table runs_table(const std::vector<Run>& runs, const std::vector<Answers>& answers) {
  Table table{.title = "Training runs",
              .columns = {{"run", false},
                          {"ranks"},
                          {"steps"},
                          {"first loss"},
                          {"last loss"},
                          {"held-out loss"},
                          {"exact match (%)"},
                          {"tokens/s"},
                          {"time (s)"},
                          {"memory (MB)"}},
              .rows = {}};
  for (const Run& run : runs) table.rows.push_back(row_of(run, answers));
  return table;
}

Table answers_table(const std::vector<Answers>& answers) {
  Table table{
      .title = "Answers to held-out questions", .columns = {{"question", false}, {"expected", false}}, .rows = {}};
  for (const Answers& one : answers) {
    const std::string name = one.name == "before" ? "before" : "after ZeRO-" + one.name.substr(4);
    table.columns.push_back({name, false});
  }
  for (std::size_t i = 0; i < answers.front().rows.size(); ++i) {
    const Json& row = answers.front().rows[i];
    std::string question = row.at("instruction").get<std::string>();
    const std::string input = row.at("input").get<std::string>();
    if (!input.empty()) question += " | " + input;
    std::vector<std::string> cells = {question, row.at("expected").get<std::string>()};
    for (const Answers& one : answers) {
      cells.push_back(i < one.rows.size() ? one.rows[i].at("answer").get<std::string>() : "-");
    }
    table.rows.push_back(std::move(cells));
  }
  return table;
}

// The stages share out the same sums, so the runs ought to be the same run.
std::string comparison(const std::vector<Run>& runs) {
  if (runs.size() != 2 || runs[0].steps.empty() || runs[0].steps.size() != runs[1].steps.size()) return "";
  double most = 0.0;
  for (std::size_t i = 0; i < runs[0].steps.size(); ++i) {
    most = std::max(most, std::fabs(runs[0].steps[i].loss - runs[1].steps[i].loss));
  }
  if (most == 0.0) {
    return fmt::format(
        "At all {} steps both runs have the same loss, to the last bit: what a stage changes is where numbers lie, "
        "not what they are.",
        runs[0].steps.size());
  }
  return fmt::format("The losses of the two runs differ by {:.2g} at most.", most);
}

}  // namespace

Section training_section(const fs::path& folder, const std::vector<Run>& runs) {
  Section section("training", "02 Training with ZeRO-2 and ZeRO-3");
  const std::vector<Answers> answers = read_all_answers(folder);
  section.paragraph(
      "The lab's two config files, `ds_config_zero2.json` and `ds_config_zero3.json`, as they stand. What was "
      "overridden for this model stands in the commands below: `--set` changes one key of the file.");
  if (has_no_runs(section, runs)) return section;
  for (const Run& run : runs) section.command(run.command);
  name_left_out(section, runs);
  section.charts({chart_of(runs, {"Loss", "optimizer step", "loss (nats per output token)"}, &Step::loss, 1.0),
                  chart_of(runs, {"Learning rate", "optimizer step", "learning rate (millionths)"}, &Step::lr, 1e6)});
  const std::string same = comparison(runs);
  if (!same.empty()) section.paragraph(same);
  section.table("training", runs_table(runs, answers));
  if (fs::exists(folder / kNotAsked)) section.paragraph(MappedFile(folder / kNotAsked).text());
  if (!answers.empty() && !answers.front().rows.empty()) section.table("answers", answers_table(answers));
  if (answers.size() > 1 && answers.front().name == "before") {
    section.headline(fmt::format("{:.2f} → {:.2f}", answers.front().loss, answers.back().loss),
                     "loss on held-out rows, before and after");
    section.headline(fmt::format("{:.0f} % → {:.0f} %", answers.front().exact_match, answers.back().exact_match),
                     "held-out questions answered exactly");
  }
  return section;
}

}  // namespace llama_zero::lab
