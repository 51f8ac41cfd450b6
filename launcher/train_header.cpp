#include "launcher/train_header.h"

#include <fmt/format.h>

#include "core/log.h"
#include "launcher/defaults_profile.h"
#include "launcher/deviations.h"
#include "launcher/optimizer_config.h"
#include "launcher/plan_table.h"
#include "launcher/progress.h"
#include "launcher/run_description.h"
#include "launcher/schedule.h"
#include "launcher/version.h"

namespace llama_zero {
namespace {

void line(std::string_view label, const std::string& text) { log::info("{:<10}{}", label, text); }

std::string describe_model(const TrainSetup& setup) {
  const std::string weights =
      setup.model.imported ? "weights from that folder" : fmt::format("random weights, seed {}", setup.config.run.seed);
  return fmt::format("{}: {}; {}{}", setup.model.name, describe_shape(*setup.table), weights,
                     setup.model.config.model.tie_word_embeddings ? ", tied embeddings" : "");
}

std::string describe_batch(const TrainSetup& setup, int ranks) {
  const BatchConfig& batch = setup.config.batch;
  return fmt::format("{} rows = {} micro x {} accumulation x {} rank{}; {}", batch.train_batch_size,
                     batch.micro_batch_size, batch.accumulation_steps, ranks, ranks == 1 ? "" : "s",
                     setup.loader->statement());
}

std::string describe_passes(const TrainSetup& setup) {
  if (!setup.config.run.coalesce) return "one a micro-batch";
  return fmt::format("at most {} of at most {} tokens in a step of a rank", setup.loader->max_passes_per_step(),
                     format_count(setup.loader_options.max_tokens_per_pass));
}

std::string describe_precision(const TrainConfig& config) {
  const LossScalerConfig& scaler = config.scaler;
  std::string text = fmt::format("{} weights and activations, {} gradients; optimizer keeps {}", name_of(config.dtype),
                                 name_of(config.grad_accum_dtype), describe_optimizer_states(config.optimizer));
  if (config.dtype != DType::kF16) return text;
  if (!scaler.dynamic) return text + fmt::format("; loss scale {:g}", scaler.initial_scale);
  return text + fmt::format("; loss scale from {:g}, doubles after {} clean steps, hysteresis {}, at least {:g}",
                            scaler.initial_scale, scaler.window, scaler.hysteresis, scaler.min_loss_scale);
}

std::string describe_update(const TrainConfig& config) {
  const std::string clip = config.gradient_clipping > 0.0
                               ? fmt::format("gradient norm clipped to {:g}", config.gradient_clipping)
                               : std::string("no gradient clipping");
  return fmt::format("{}; {}", describe_optimizer(config.optimizer), clip);
}

std::string describe_zero(const ZeroConfig& zero) {
  std::string text = describe_stage(zero.stage);
  if (zero.offload_param.enabled) text += "; weights in host memory";
  if (!zero.offload_optimizer.enabled) return text;
  text += "; optimizer states in host memory";
  if (zero.offload_optimizer.ratio < 1.0) text += fmt::format(" (ratio {:g})", zero.offload_optimizer.ratio);
  return text;
}

void print_data(const DataSource& data, std::string_view label) {
  for (const std::string& note : data.notes) {
    line(label, note);
    label = "";
  }
}

/// One line of clauses; none when there is nothing to say.
void print_list(std::string_view label, const std::vector<std::string>& clauses, std::string_view introduction = "") {
  std::string text;
  for (const std::string& clause : clauses) text += (text.empty() ? "" : "; ") + clause;
  if (!text.empty()) line(label, std::string(introduction) + text);
}

/// What the file and the flags set and what "auto" became, a line a section.
void print_set_values(const TrainConfig& config) {
  const std::string all = print_settings(config, 106);
  for (std::string_view text = all; !text.empty(); text.remove_prefix(text.find('\n') + 1)) {
    line("", std::string(text.substr(0, text.find('\n'))));
  }
}

}  // namespace

void print_header(const TrainSetup& setup, const Runtime& runtime) {
  if (runtime.rank() != 0) return;
  const TrainConfig& config = setup.config;
  line("program", fmt::format("llama_zero {}", kVersion));
  line("device", runtime.describe_device());
  line("ranks", runtime.describe_ranks());
  line("config", config.source);
  print_set_values(config);
  line("model", describe_model(setup));
  for (const std::string& note : setup.notes) line("", note);
  line("tokenizer", setup.tokenizer->path().string());
  print_data(*setup.data, "data");
  if (setup.eval_data) print_data(*setup.eval_data, "eval data");
  line("batch", describe_batch(setup, runtime.ranks()));
  line("passes", describe_passes(setup));
  line("steps", fmt::format("{} optimizer steps, {} an epoch", format_count(config.total_steps),
                            format_count(setup.loader->batches_per_epoch())));
  line("precision", describe_precision(config));
  line("zero", describe_zero(config.zero));
  line("optimizer", describe_update(config));
  line("schedule", describe_schedule(config, setup.engine.schedule));
  print_list("defaults", effective_defaults(config));
  print_list("deviates", deviations(config, runtime.ranks()), "from DeepSpeed: ");
  for (const std::string& note : config.notes) line("note", note);
  line("memory", fmt::format("planned for each rank; {} free", format_bytes(setup.free_bytes)));
  log::info("{}", format_forecast({with_workspace(setup.plan), setup.plan.host}));
  for (const std::string& warning : config.warnings) log::warning("{}", warning);
  log::debug("resolved config\n{}", print_resolved(config));
}

}  // namespace llama_zero
