// Llama-2-7B: what the plan says for every rank count, what was measured beside it, and where the lab's figures were
// wrong.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>

#include "launcher/lab/lab_chart.h"
#include "launcher/lab/lab_parts.h"
#include "launcher/plan_backend.h"
#include "launcher/plan_command.h"

namespace llama_zero::lab {
namespace {

constexpr std::string_view kModel = "llama2-7b";
constexpr std::array<int, 4> kRanks = {1, 2, 4, 8};
// So that no plan makes its passes smaller: all cells are of the same passes.
constexpr double kEnoughGb = 1e9;
// As scripts/lab runs its part on memory.
constexpr std::int64_t kSequence = 512, kMicroBatch = 1, kAccumulation = 2;

struct Case {
  const char* name;
  int stage;
  bool offload_optimizer, offload_param;
};

constexpr std::array<Case, 6> kCases = {{{"standard (stage 0)", 0, false, false},
                                         {"ZeRO-1", 1, false, false},
                                         {"ZeRO-2", 2, false, false},
                                         {"ZeRO-3", 3, false, false},
                                         {"ZeRO-2 + offload", 2, true, false},
                                         {"ZeRO-3 + both offloads", 3, true, true}}};

// Their places in kCases.
constexpr std::size_t kStandard = 0, kZero3 = 3, kZero2Offload = 4, kZero3Offload = 5;

PlanResult plan_of(const Case& one, int ranks) {
  PlanArguments arguments;
  arguments.ranks = ranks;
  arguments.memory_gb = kEnoughGb;
  auto& sets = arguments.train.flags.overrides;
  for (const char* text : {"llama_zero.model=llama2-7b", "fp16.enabled=true", "gradient_clipping=1.0"}) {
    sets.push_back(parse_set(text));
  }
  sets.push_back(parse_set(fmt::format("llama_zero.sequence_length={}", kSequence)));
  sets.push_back(parse_set(fmt::format("train_micro_batch_size_per_gpu={}", kMicroBatch)));
  sets.push_back(parse_set(fmt::format("gradient_accumulation_steps={}", kAccumulation)));
  sets.push_back(parse_set(fmt::format("zero_optimization.stage={}", one.stage)));
  if (one.offload_optimizer) sets.push_back(parse_set("zero_optimization.offload_optimizer.device=cpu"));
  if (one.offload_param) sets.push_back(parse_set("zero_optimization.offload_param.device=cpu"));
  return make_plan(arguments);
}

std::string gigabytes(double bytes) { return fmt::format("{:.1f}", bytes / 1e9); }

double device_bytes(const PlanResult& plan) { return static_cast<double>(plan.forecast.device.peak_bytes); }

struct Plans {
  Table table{.title = "Llama-2-7B: memory of one rank (GB)", .columns = {{"run", false}}, .rows = {}};
  std::vector<Group> groups;
  std::int64_t params = 0;
  std::string backend;
  std::optional<std::size_t> memory_bytes;  ///< of this machine's GPU
};

std::string both(double device, double host) {
  return gigabytes(device) + (host > 0.0 ? " + " + gigabytes(host) + " host" : std::string());
}

// Of the preset too, whose vocabulary is then that of the run's tokenizer.
const Run* measured_run(const std::vector<Run>& runs, std::int64_t params, const Case& one, int ranks) {
  const auto found = std::ranges::find_if(runs, [&](const Run& run) {
    return run.finished() && (run.parameters == params || run.model == kModel) && run.sequence_length == kSequence &&
           run.micro_batch == kMicroBatch && run.accumulation == kAccumulation && run.ranks == ranks &&
           run.stage == one.stage && run.offload_optimizer == one.offload_optimizer &&
           run.offload_param == one.offload_param;
  });
  return found == runs.end() ? nullptr : &*found;
}

std::string both(const Memory& device, const Memory& host) {
  return both(static_cast<double>(device.peak_bytes), static_cast<double>(host.peak_bytes));
}

std::string cell(const PlanResult& plan, const Run* run) {
  const std::string planned = both(device_bytes(plan), static_cast<double>(plan.forecast.host.peak_bytes));
  if (run == nullptr) return planned;
  const std::string measured = planned + "; measured " + both(run->measured, run->measured_host);
  if (run->parameters == plan.params) return measured;
  return measured + " of " + both(run->planned, run->planned_host) + " planned";
}

// Runs with another tokenizer than Llama's are of a smaller or larger model.
void explain_vocabulary(Section& section, const std::vector<Run>& runs, std::int64_t params) {
  const auto other = std::ranges::find_if(
      runs, [&](const Run& run) { return run.finished() && run.model == kModel && run.parameters != params; });
  if (other == runs.end()) return;
  section.paragraph(fmt::format(
      "The runs here had the vocabulary of their tokenizer and so {:.2f} billion parameters in place of {:.2f}: a "
      "measurement stands beside the plan of its own run. `LAB_TOKENIZER` with Llama's tokenizer.model makes them "
      "whole.",
      static_cast<double>(other->parameters) / 1e9, static_cast<double>(params) / 1e9));
}

Plans make_plans(const std::vector<Run>& runs) {
  Plans plans;
  const PlanBackend backend = make_plan_backend(DeviceChoice::kAuto, AttentionChoice::kAuto, 1);
  if (backend.device == DeviceType::kCuda) plans.memory_bytes = backend.memory_bytes;
  for (const int ranks : kRanks) {
    plans.table.columns.push_back({fmt::format("{} rank{}", ranks, ranks == 1 ? "" : "s")});
    plans.groups.push_back({fmt::format("{}", ranks), {}});
  }
  for (const Case& one : kCases) {
    std::vector<std::string> row = {one.name};
    for (std::size_t i = 0; i < kRanks.size(); ++i) {
      const PlanResult plan = plan_of(one, kRanks[i]);
      plans.params = plan.params;
      plans.backend = plan.backend;
      plans.groups[i].values.push_back(device_bytes(plan) / 1e9);
      row.push_back(cell(plan, measured_run(runs, plan.params, one, kRanks[i])));
    }
    plans.table.rows.push_back(std::move(row));
  }
  return plans;
}

/// Planned gigabytes of the device.
double planned(const Plans& plans, std::size_t one_case, int ranks) {
  const auto at = static_cast<std::size_t>(std::ranges::find(kRanks, ranks) - kRanks.begin());
  return plans.groups[at].values[one_case];
}

Table corrections(const Plans& plans) {
  const auto p = static_cast<double>(plans.params);
  const double standard = planned(plans, kStandard, 1), offloaded = planned(plans, kZero2Offload, 1);
  Table table{.title = "The lab's figures for Llama-2-7B",
              .columns = {{"what", false}, {"the lab", false}, {"right", false}, {"why", false}},
              .rows = {}};
  table.rows = {
      {"weights in fp32", "28 GB", gigabytes(4.0 * p) + " GB", "4 bytes for each of 6.74 billion parameters"},
      {"weights in fp16", "14 GB", gigabytes(2.0 * p) + " GB", "2 bytes; that is the weights alone, not training"},
      {"full fine-tuning, standard", "-", gigabytes(16.0 * p) + " GB",
       "16 bytes a parameter: fp16 weights 2, gradients 2, fp32 master 4, Adam's moments 8; activations come on top"},
      {"ZeRO-2 + CPU offload, 1 GPU, saving on the GPU", "20-30 %",
       fmt::format("{:.0f} %", 100.0 * (1.0 - offloaded / standard)),
       fmt::format("optimizer states and gradients leave the card, 14 of 16 bytes: {:.1f} GB become {:.1f} GB",
                   standard, offloaded)},
      {"ZeRO-3 on 4 GPUs, each", "8 GB", fmt::format("{:.1f} GB", planned(plans, kZero3, 4)),
       fmt::format("16 P / 4 of states are {} GB alone; with both offloads it is {:.1f} GB", gigabytes(16.0 * p / 4.0),
                   planned(plans, kZero3Offload, 4))},
  };
  return table;
}

}  // namespace

Section seven_billion_section(const std::vector<Run>& runs) {
  Section section("seven-billion", "Llama-2-7B, and the lab's figures corrected");
  const Plans plans = make_plans(runs);
  std::vector<std::string> names;
  for (const auto& row : plans.table.rows) names.push_back(row.front());
  section.paragraph(
      fmt::format("`llama_zero plan` needs no GPU: it replays a step on a device without memory. fp16, {} rows of {} "
                  "tokens, activations, buffers and workspace included. Backend: {}.",
                  kMicroBatch * kAccumulation, kSequence, plans.backend));
  if (plans.memory_bytes) {
    section.paragraph(fmt::format(
        "A GPU of this machine has {} GB for a rank: what takes more does not fit and is planned only. Where a run "
        "was made, its measurement stands beside the plan, which counts CUDA's libraries too.",
        gigabytes(static_cast<double>(*plans.memory_bytes))));
  }
  explain_vocabulary(section, runs, plans.params);
  section.charts(
      {column_chart({"Memory of one rank on the device by rank count", "ranks", "memory (GB)"}, names, plans.groups)});
  section.table("llama2_7b_plan", plans.table);
  section.table("lab_corrections", corrections(plans));
  return section;
}

}  // namespace llama_zero::lab
