// The lab's first experiment: memory without ZeRO and with each stage of it.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <tuple>

#include "launcher/lab/lab_chart.h"
#include "launcher/lab/lab_gaps.h"
#include "launcher/lab/lab_parts.h"

namespace llama_zero::lab {
namespace {

const std::vector<std::string> kParts = {"optimizer", "gradients", "weights",       "activations",
                                         "logits",    "buffers",   "in host memory"};

double bytes_of(const Memory& memory, const std::string& label) {
  const auto found = memory.labels.find(label);
  return found == memory.labels.end() ? 0.0 : static_cast<double>(found->second);
}

double states_of(const Memory& memory) {
  return bytes_of(memory, "optimizer") + bytes_of(memory, "gradients") + bytes_of(memory, "weights");
}

double total(const Memory& memory) { return static_cast<double>(memory.peak_bytes); }

// 16-bit weights and gradients, fp32 master and two moments: 2 + 2 + 12 bytes a parameter, and each stage shares out
// one more.
double formula(const Run& run) {
  const auto p = static_cast<double>(run.parameters);
  const auto n = static_cast<double>(run.ranks);
  if (run.stage == 0) return 16.0 * p;
  if (run.stage == 1) return 4.0 * p + 12.0 * p / n;
  if (run.stage == 2) return 2.0 * p + 14.0 * p / n;
  return 16.0 * p / n;
}

std::vector<double> parts_of(const Memory& device, const Memory& host) {
  std::vector<double> parts;
  double rest = total(device);
  for (std::size_t i = 0; i + 2 < kParts.size(); ++i) {
    parts.push_back(bytes_of(device, kParts[i]) / 1e6);
    rest -= bytes_of(device, kParts[i]);
  }
  parts.push_back(std::max(rest, 0.0) / 1e6);
  parts.push_back(total(host) / 1e6);
  return parts;
}

std::string chart_of(const std::vector<Run>& runs, const char* title, Memory Run::*device, Memory Run::*host) {
  std::vector<Bar> bars;
  for (const Run& run : runs) {
    std::string text = megabytes(total(run.*device));
    if ((run.*host).peak_bytes > 0) text += " + " + megabytes(total(run.*host));
    bars.push_back({short_name(run), parts_of(run.*device, run.*host), std::move(text)});
  }
  return bar_chart({title, "memory of one rank at its peak (MB)", ""}, kParts, bars);
}

std::string or_dash(const Run& run, std::string text) { return run.finished() ? std::move(text) : std::string("-"); }

// Like with like: two measurements, or two plans.
std::string against(const Run& run, const Run& standard) {
  const bool measured = run.finished() && standard.finished();
  return measured ? percent_more(total(run.measured), total(standard.measured))
                  : percent_more(total(run.planned), total(standard.planned));
}

std::string planned_note(const Run& run) {
  if (run.finished()) return "";
  return run.left_out() ? " (planned: left out)" : " (planned: it did not run)";
}

Table stage_table(const std::vector<Run>& runs) {
  Table table{.title = "Memory of one rank by stage (MB)",
              .columns = {{"run", false},
                          {"predicted"},
                          {"measured"},
                          {"difference"},
                          {"host predicted"},
                          {"host measured"},
                          {"states by formula"},
                          {"states, host included"},
                          {"device against standard"}},
              .rows = {}};
  const auto standard = std::ranges::find(runs, 0, &Run::stage);
  for (const Run& run : runs) {
    const Memory& known = run.finished() ? run.measured : run.planned;
    const Memory& known_host = run.finished() ? run.measured_host : run.planned_host;
    const std::string saved = standard == runs.end() ? "-" : against(run, *standard);
    table.rows.push_back({stage_name(run) + planned_note(run), megabytes(total(run.planned)),
                          or_dash(run, megabytes(total(run.measured))),
                          or_dash(run, percent_more(total(run.measured), total(run.planned))),
                          megabytes(total(run.planned_host)), or_dash(run, megabytes(total(run.measured_host))),
                          megabytes(formula(run)), megabytes(states_of(known) + total(known_host)), saved});
  }
  return table;
}

void add_label_rows(Table& table, const std::vector<Run>& runs, Memory Run::*planned, Memory Run::*measured) {
  std::set<std::string> labels;
  for (const Run& run : runs) {
    for (const Memory* memory : {&(run.*planned), &(run.*measured)}) {
      for (const auto& [label, bytes] : memory->labels) labels.insert(label);
    }
  }
  for (const std::string& label : labels) {
    std::vector<std::string> row = {label};
    for (const Run& run : runs) {
      row.push_back(megabytes(bytes_of(run.*planned, label)));
      row.push_back(or_dash(run, megabytes(bytes_of(run.*measured, label))));
    }
    table.rows.push_back(std::move(row));
  }
}

Table label_table(const std::vector<Run>& runs) {
  Table table{.title = "Memory by label (MB): predicted, measured", .columns = {{"label", false}}, .rows = {}};
  for (const Run& run : runs) {
    table.columns.push_back({short_name(run) + " predicted"});
    table.columns.push_back({short_name(run) + " measured"});
  }
  add_label_rows(table, runs, &Run::planned, &Run::measured);
  add_label_rows(table, runs, &Run::planned_host, &Run::measured_host);
  return table;
}

double difference(const Memory& measured, const Memory& planned) {
  return planned.peak_bytes == 0 ? 0.0 : 100.0 * std::fabs(total(measured) - total(planned)) / total(planned);
}

double largest_difference(const std::vector<Run>& runs) {
  double most = 0.0;
  for (const Run& run : runs) {
    most = std::max({most, difference(run.measured, run.planned), difference(run.measured_host, run.planned_host)});
  }
  return most;
}

bool offloads_nothing(const std::vector<Run>& runs) {
  return std::ranges::none_of(runs, [](const Run& run) { return run.planned_host.peak_bytes > 0; });
}

void explain(Section& section, const std::vector<Run>& runs) {
  section.paragraph(
      "The formula counts the states of mixed precision training: 2 bytes a parameter of weights, 2 of gradients, "
      "12 of fp32 master weights and Adam's two moments. It has no activations and no buffers, which do not shrink "
      "with the stage: the smaller the model beside its batch, the less ZeRO saves of the whole.");
  const auto of_stage = [&](int stage) { return std::ranges::find(runs, stage, &Run::stage); };
  const auto two = of_stage(2), three = of_stage(3);
  if (two != runs.end() && three != runs.end() && three->planned.peak_bytes > two->planned.peak_bytes) {
    section.paragraph(
        "ZeRO-3 takes more than ZeRO-2 here, since it gathers what it computes with (label leases): "
        "`stage3_max_live_parameters` and `stage3_max_reuse_distance` of the config are larger than this whole "
        "model, which therefore stays gathered. For a model of billions of parameters they are a small part.");
  }
  if (std::ranges::all_of(runs, [](const Run& run) { return run.ranks == 1; })) {
    section.paragraph(
        "One rank has nobody to share with: every stage holds the same states, and only offload takes them away. "
        "The last part has what each stage leaves on more ranks.");
  }
  if (offloads_nothing(runs)) return;
  section.paragraph(
      on_cpu(runs.front())
          ? "Offloaded states leave the device for page-locked host memory. On the CPU backend both are this machine's "
            "memory: the columns say what a GPU would keep and what it would be rid of."
          : "Offloaded states leave the device for page-locked host memory, from where the CPU updates them.");
}

}  // namespace

Section memory_section(const std::vector<Run>& all) {
  Section section("memory", "03 Experiment 1: memory, standard and ZeRO");
  std::vector<Run> runs;
  for (const Run& run : all) {
    if (run.planned.peak_bytes > 0) runs.push_back(run);
  }
  if (has_no_runs(section, all)) return section;
  explain_failures(section, all);
  name_left_out(section, all);
  std::ranges::stable_sort(runs, {}, [](const Run& run) { return std::tuple(run.offload_optimizer, run.stage); });
  if (runs.empty()) return section;
  const std::vector<Run> measured = finished(runs);
  section.paragraph(fmt::format(
      "The prediction replays one step of the real engine on a device without memory; the measurement is what a run "
      "of {} rank{} took at its peak. Every row of these runs is as long as it may be, the case that is predicted.",
      runs.front().ranks, runs.front().ranks == 1 ? "" : "s"));
  std::vector<std::string> charts = {chart_of(runs, "Predicted", &Run::planned, &Run::planned_host)};
  if (!measured.empty()) charts.push_back(chart_of(measured, "Measured", &Run::measured, &Run::measured_host));
  section.charts(charts);
  section.table("memory_stages", stage_table(runs));
  explain(section, runs);
  section.table("memory_labels", label_table(runs), true);
  if (!measured.empty()) {
    section.headline(fmt::format("{:.2f} %", largest_difference(measured)),
                     "largest difference of predicted and measured memory");
  }
  return section;
}

}  // namespace llama_zero::lab
