// The page that `llama_zero plan` prints.
#include <fmt/format.h>

#include "launcher/plan_command.h"
#include "launcher/plan_compare.h"
#include "launcher/plan_estimator.h"
#include "launcher/plan_table.h"
#include "launcher/progress.h"
#include "launcher/run_description.h"

namespace llama_zero {
namespace {

constexpr double kGb = 1024.0 * 1024.0 * 1024.0;

std::string line(std::string_view label, const std::string& text) { return fmt::format("{:<10}{}\n", label, text); }

std::string gb(double bytes) { return fmt::format("{:.2f} GB", bytes / kGb); }

std::string describe_ranks(const PlanResult& plan) {
  const int ranks = plan.plan_case.ranks;
  if (ranks == 1) return "1";
  return fmt::format("{}, {} on each host", ranks, plan.ranks_per_host);
}

std::string describe_pass(const PlanCase& plan_case) {
  const std::vector<Pass> step = largest_step(plan_case);
  const std::string cut = plan_case.coalesce
                              ? fmt::format("at most {} tokens", format_count(plan_case.max_tokens_per_pass))
                              : std::string("one a micro-batch");
  return fmt::format("{}; planned: {} tokens, the longest row {}; {} activation checkpointing", cut,
                     format_count(step.front().tokens_count()), format_count(plan_case.longest_row),
                     name_of(plan_case.engine.transformer.checkpointing));
}

std::string describe_batch(const BatchConfig& batch, int ranks) {
  return fmt::format("{} rows = {} micro x {} accumulation x {} rank{}", batch.train_batch_size, batch.micro_batch_size,
                     batch.accumulation_steps, ranks, ranks == 1 ? "" : "s");
}

std::string describe_precision(const TrainConfig& config) {
  return fmt::format("{} weights and activations, {} gradients", name_of(config.dtype),
                     name_of(config.grad_accum_dtype));
}

std::string header(const PlanResult& plan) {
  const TrainConfig& config = plan.config;
  std::string text = line("model", plan.model);
  text += line("config", config.source);
  text += line("ranks", describe_ranks(plan));
  text += line("zero", describe_stage(config.zero.stage));
  text += line("precision", describe_precision(config));
  text += line("batch", describe_batch(config.batch, plan.plan_case.ranks));
  text += line("passes", describe_pass(plan.plan_case));
  text += line("backend", plan.backend);
  for (const std::string& warning : config.warnings) text += line("warning", warning);
  return text;
}

std::string table(const PlanResult& plan) {
  std::string text = "\nmemory of each rank at its peak\n" + format_forecast(plan.forecast) + "\n";
  const std::size_t in_host = plan.plan_case.can_offload ? plan.forecast.host.peak_bytes : plan.needed_bytes();
  if (in_host > 0 && plan.ranks_per_host > 1) {
    text += fmt::format("  {:<24} {:>12}\n", fmt::format("a host of {} ranks", plan.ranks_per_host),
                        format_bytes(in_host * static_cast<std::size_t>(plan.ranks_per_host)));
  }
  return text;
}

std::string formulas(const PlanResult& plan) {
  const int ranks = plan.plan_case.ranks;
  const EstimatorInput input{plan.params, plan.largest_layer, plan.ranks_per_host, ranks / plan.ranks_per_host};
  std::string text = "\nbeside it: formulas without activations and buffers\n";
  text += fmt::format("  the lab's: 16 P = {}; ZeRO on {} ranks, 2 P + 14 P / N = {}\n",
                      gb(lab_standard_bytes(plan.params)), ranks, gb(lab_zero_bytes(plan.params, ranks)));
  return text + "DeepSpeed's ZeRO-2 estimator:\n" + format_zero2(input) + "DeepSpeed's ZeRO-3 estimator:\n" +
         format_zero3(input);
}

std::string verdict(const PlanResult& plan) {
  if (!plan.memory_bytes) return line("fits", "not judged: no such device here; give --memory GB");
  const std::string figures =
      fmt::format("{} of {} for each rank", format_bytes(plan.needed_bytes()), format_bytes(*plan.memory_bytes));
  const std::string context = plan.plan_case.can_offload ? "; the CUDA context, some hundred MB, is not in it" : "";
  if (plan.fits()) return line("fits", "yes: " + figures + context);
  return line("fits", "no: " + figures + context) + line("advice", in_a_sentence(plan.advice)) +
         format_advice(plan.advice);
}

}  // namespace

std::string format_plan(const PlanResult& plan) {
  std::string text = header(plan) + table(plan) + formulas(plan) + "\n" + verdict(plan);
  return text;
}

int run_plan(PlanArguments arguments, int rank, int world_size) {
  if (arguments.ranks == 0) arguments.ranks = world_size;
  const std::string text =
      arguments.compare ? format_comparison(compare_plans(arguments)) : format_plan(make_plan(arguments));
  if (rank == 0) write_stdout(text);
  return 0;
}

}  // namespace llama_zero
