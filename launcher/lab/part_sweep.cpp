// The lab's second experiment: micro-batch, accumulation, offload and overlap.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "launcher/lab/lab_chart.h"
#include "launcher/lab/lab_gaps.h"
#include "launcher/lab/lab_parts.h"

namespace llama_zero::lab {
namespace {

constexpr const char* kOn[2] = {"off", "on"};

std::string of_memory(const Memory& memory) { return megabytes(static_cast<double>(memory.peak_bytes)); }

std::vector<std::string> row_of(const Run& run) {
  const bool ran = run.finished();
  const auto measured = [&](std::string text) { return ran ? std::move(text) : std::string("-"); };
  return {fmt::format("{}", run.micro_batch),
          fmt::format("{}", run.accumulation),
          fmt::format("{}", run.micro_batch * run.accumulation * run.ranks),
          kOn[run.offload_optimizer],
          kOn[run.overlap],
          measured(fmt::format("{:.1f}", median_step_ms(run))),
          measured(fmt::format("{:.0f}", tokens_per_second(run))),
          of_memory(run.planned),
          measured(of_memory(run.measured)),
          of_memory(run.planned_host),
          measured(of_memory(run.measured_host)),
          measured(fmt::format("{:.1f}", communication_percent(run))),
          measured(fmt::format("{:.1f}", waiting_percent(run))),
          measured(megabytes(bytes_a_step(run, run.copies))),
          ran ? std::string() : run.failure};
}

Table sweep_table(const std::vector<Run>& runs) {
  Table table{.title = "Sweep",
              .columns = {{"micro-batch"},
                          {"accumulation"},
                          {"rows a step"},
                          {"offload", false},
                          {"overlap", false},
                          {"step (ms)"},
                          {"tokens/s"},
                          {"memory predicted (MB)"},
                          {"memory measured (MB)"},
                          {"host predicted (MB)"},
                          {"host measured (MB)"},
                          {"communication (%)"},
                          {"waiting (%)"},
                          {"host copies a step (MB)"},
                          {"why it did not run", false}},
              .rows = {}};
  if (std::ranges::all_of(runs, &Run::finished)) table.columns.pop_back();
  for (const Run& run : runs) {
    table.rows.push_back(row_of(run));
    table.rows.back().resize(table.columns.size());
  }
  return table;
}

const Run* find(const std::vector<Run>& runs, std::int64_t micro, std::int64_t accumulation, bool offload,
                bool overlap) {
  const auto found = std::ranges::find_if(runs, [&](const Run& run) {
    return run.micro_batch == micro && run.accumulation == accumulation && run.offload_optimizer == offload &&
           run.overlap == overlap;
  });
  return found == runs.end() ? nullptr : &*found;
}

struct Values {
  std::set<std::int64_t> micro, accumulation;
};

Values values_of(const std::vector<Run>& runs) {
  Values values;
  for (const Run& run : runs) {
    values.micro.insert(run.micro_batch);
    values.accumulation.insert(run.accumulation);
  }
  return values;
}

std::string panel(const std::vector<Run>& runs, bool offload, bool overlap, double most) {
  const auto [micro, accumulation] = values_of(runs);
  std::vector<std::string> series;
  for (const std::int64_t rows : micro) series.push_back(fmt::format("micro-batch {}", rows));
  std::vector<Group> groups;
  for (const std::int64_t steps : accumulation) {
    Group group{fmt::format("{}", steps), {}};
    for (const std::int64_t rows : micro) {
      const Run* run = find(runs, rows, steps, offload, overlap);
      group.values.push_back(run == nullptr ? 0.0 : tokens_per_second(*run));
    }
    groups.push_back(std::move(group));
  }
  return column_chart(
      {fmt::format("Offload {}, overlap {}", kOn[offload], kOn[overlap]), "accumulation steps", "tokens/s"}, series,
      groups, most);
}

// Of the switches' four combinations those that more than one run was made of; all where none was.
std::vector<std::string> panels_of(const std::vector<Run>& runs) {
  double most = 0.0;
  std::map<std::pair<bool, bool>, int> counts;
  int largest = 0;
  for (const Run& run : runs) {
    most = std::max(most, tokens_per_second(run));
    largest = std::max(largest, ++counts[{run.offload_optimizer, run.overlap}]);
  }
  std::vector<std::string> panels;
  for (const auto& [switches, count] : counts) {
    if (count > 1 || largest == 1) panels.push_back(panel(runs, switches.first, switches.second, most));
  }
  return panels;
}

/// Ascending: `value` of (run without, run with) for the runs that differ in `wanted` alone.
template <typename Value>
std::vector<double> effects_of(const std::vector<Run>& runs, bool Run::*wanted, Value&& value) {
  std::vector<double> effects;
  for (const Run& run : runs) {
    if (!(run.*wanted)) continue;
    Run other = run;
    other.*wanted = false;
    const Run* without = find(runs, other.micro_batch, other.accumulation, other.offload_optimizer, other.overlap);
    if (without != nullptr) effects.push_back(value(*without, run));
  }
  std::ranges::sort(effects);
  return effects;
}

double speed_effect(const Run& without, const Run& with) {
  const double before = tokens_per_second(without);
  return before > 0.0 ? 100.0 * (tokens_per_second(with) / before - 1.0) : 0.0;
}

double median(const std::vector<double>& sorted) {
  const std::size_t middle = sorted.size() / 2;
  return sorted.size() % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2.0;
}

Table effects_table(const std::vector<Run>& runs) {
  Table table{.title = "What each switch changes, over the pairs of runs that differ in it alone",
              .columns = {{"switch", false},
                          {"pairs"},
                          {"tokens/s, least (%)"},
                          {"median (%)"},
                          {"most (%)"},
                          {"device memory, median (MB)"},
                          {"host memory, median (MB)"},
                          {"waiting, median (points)"}},
              .rows = {}};
  const auto add = [&](const char* name, bool Run::*wanted) {
    const std::vector<double> speed = effects_of(runs, wanted, speed_effect);
    if (speed.empty()) return;
    const auto memory = [&](Memory Run::*which) {
      return median(effects_of(runs, wanted, [which](const Run& without, const Run& with) {
        return (static_cast<double>((with.*which).peak_bytes) - static_cast<double>((without.*which).peak_bytes)) / 1e6;
      }));
    };
    const double waiting = median(effects_of(runs, wanted, [](const Run& without, const Run& with) {
      return waiting_percent(with) - waiting_percent(without);
    }));
    table.rows.push_back({name, fmt::format("{}", speed.size()), fmt::format("{:+.1f}", speed.front()),
                          fmt::format("{:+.1f}", median(speed)), fmt::format("{:+.1f}", speed.back()),
                          fmt::format("{:+.2f}", memory(&Run::measured)),
                          fmt::format("{:+.2f}", memory(&Run::measured_host)), fmt::format("{:+.1f}", waiting)});
  };
  add("offload_optimizer to the CPU", &Run::offload_optimizer);
  add("overlap_comm", &Run::overlap);
  return table;
}

}  // namespace

Section sweep_section(std::vector<Run> all) {
  std::ranges::stable_sort(all, {}, [](const Run& run) {
    return std::tuple(run.micro_batch, run.accumulation, run.offload_optimizer, run.overlap);
  });
  Section section("sweep", "03 Experiment 2: the sweep");
  const std::vector<Run> runs = finished(all);
  if (has_no_runs(section, all)) return section;
  section.paragraph(
      "ZeRO-2 with combinations of micro-batch, accumulation, optimizer offload and `overlap_comm`: the table below "
      "has "
      "them. Micro-steps run one after another, as DeepSpeed runs them (`--no-coalesce`); llama_zero's own way is to "
      "coalesce a step into as few passes as fit memory, and then only the product of micro-batch and accumulation "
      "counts.");
  name_left_out(section, all);
  if (!runs.empty()) {
    section.charts(panels_of(runs));
    const auto best = std::ranges::max_element(runs, {}, tokens_per_second);
    const auto least = std::ranges::min_element(runs, {}, [](const Run& run) { return run.measured.peak_bytes; });
    section.paragraph(fmt::format(
        "Model: {}. Fastest: micro-batch {}, accumulation {}, offload {}, overlap {}: {:.0f} tokens/s. Least memory "
        "of the device: micro-batch {}, offload {}: {} MB. A small difference between two runs of a few steps is "
        "noise: the table of pairs says how large that is.",
        runs.front().model, best->micro_batch, best->accumulation, kOn[best->offload_optimizer], kOn[best->overlap],
        tokens_per_second(*best), least->micro_batch, kOn[least->offload_optimizer], of_memory(least->measured)));
    Table effects = effects_table(runs);
    if (!effects.rows.empty()) section.table("sweep_effects", std::move(effects));
    if (std::ranges::all_of(runs, [](const Run& run) { return run.ranks == 1; })) {
      section.paragraph("One rank sends nothing, so `overlap_comm` has no communication to hide here.");
    }
    if (on_cpu(runs.front())) {
      section.paragraph(
          "On the CPU backend a collective runs where it is called, so there is nothing that `overlap_comm` could "
          "hide and its effect is the noise; on a GPU it takes waiting away.");
    }
  }
  section.table("sweep", sweep_table(all), true);
  return section;
}

}  // namespace llama_zero::lab
