#include "launcher/plan_case.h"

#include <algorithm>
#include <string>
#include <utility>

#include "core/error.h"
#include "data/pass_builder.h"
#include "launcher/engine_options.h"

namespace llama_zero {
namespace {

// Rows shorter than this are rare in instruction data: what bounds the documents of a pass.
constexpr std::int64_t kShortestRow = 32;

std::int64_t round_up_to(std::int64_t value, std::int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

/// A pass of `tokens` tokens in `documents` documents, none longer than `longest`, and a padding document.
Pass synthetic_pass(std::int64_t tokens, std::int64_t documents, std::int64_t longest, std::int64_t alignment) {
  Pass pass;
  std::int64_t left = tokens;
  for (std::int64_t remaining = documents; remaining > 0; --remaining) {
    const std::int64_t count = std::min(longest, left - (remaining - 1));
    append_document(pass, std::vector<std::int32_t>(static_cast<std::size_t>(count), 0), 0, true);
    left -= count;
  }
  pad_pass(pass, alignment);
  return pass;
}

}  // namespace

std::int64_t PlanCase::least_tokens_per_pass() const { return round_up_to(longest_row, pass_alignment); }

std::int64_t PlanCase::smaller_tokens_per_pass() const {
  return std::max(least_tokens_per_pass(), max_tokens_per_pass / 2 / pass_alignment * pass_alignment);
}

PlanCase plan_case_of(const TrainConfig& config, int ranks, bool can_offload) {
  PlanCase plan_case;
  plan_case.engine = engine_options_of(config);
  plan_case.ranks = ranks;
  plan_case.by_nccl = config.run.communicator != CommunicatorChoice::kMpi;
  plan_case.can_offload = can_offload;
  plan_case.longest_row = config.run.sequence_length;
  plan_case.micro_batch = config.batch.micro_batch_size;
  plan_case.accumulation = config.batch.accumulation_steps;
  plan_case.coalesce = config.run.coalesce;
  if (config.run.max_tokens_per_pass > 0) {
    plan_case.max_tokens_per_pass = config.run.max_tokens_per_pass;
  } else {
    plan_case.max_tokens_per_pass = std::max(kMostTokensPerPass, plan_case.least_tokens_per_pass());
  }
  return plan_case;
}

std::vector<Pass> largest_step(const PlanCase& plan_case) {
  const std::int64_t rows_of_pass = plan_case.micro_batch * (plan_case.coalesce ? plan_case.accumulation : 1);
  std::int64_t tokens = rows_of_pass * plan_case.longest_row;
  std::int64_t passes = plan_case.coalesce ? 1 : plan_case.accumulation;
  std::int64_t documents = rows_of_pass;
  if (plan_case.coalesce && tokens > plan_case.max_tokens_per_pass) {
    tokens = plan_case.max_tokens_per_pass / plan_case.pass_alignment * plan_case.pass_alignment;
    require(tokens >= plan_case.longest_row,
            "max_tokens_per_pass {} cannot hold a row of {} tokens (sequence_length); raise it to {} at least",
            plan_case.max_tokens_per_pass, plan_case.longest_row, plan_case.least_tokens_per_pass());
    documents = std::min(documents, std::max(tokens / kShortestRow, (tokens - 1) / plan_case.longest_row + 1));
    passes = 2;
  }
  const Pass pass = synthetic_pass(tokens, documents, plan_case.longest_row, plan_case.pass_alignment);
  return std::vector<Pass>(static_cast<std::size_t>(std::min<std::int64_t>(2, passes)), pass);
}

MemoryForecast forecast_memory(const ParamTable& table, const PlanCase& plan_case, const Ops& sizing,
                               std::span<const Pass> passes) {
  const MemoryPlan plan = plan_memory(table, plan_case.engine, sizing, 0, plan_case.ranks, passes);
  return {with_workspace(plan), plan.host};
}

MemoryReport with_workspace(const MemoryPlan& plan) {
  MemoryReport report = plan.arena;
  const std::size_t alignment = Arena::kAlignment;
  const std::size_t workspace = (plan.workspace_bytes + alignment - 1) / alignment * alignment;
  if (workspace == 0) return report;
  report.peak_bytes += workspace;
  report.current_bytes += workspace;
  report.at_peak["workspace"] += workspace;
  report.peak_by_label["workspace"] += workspace;
  return report;
}

}  // namespace llama_zero
