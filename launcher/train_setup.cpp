#include "launcher/train_setup.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"
#include "launcher/engine_options.h"

namespace llama_zero {
namespace {

// Larger passes make larger matrix products; beyond this nothing is gained.
constexpr std::int64_t kMostTokensPerPass = 8192;

ResolveFacts facts_of(const TrainSetup& setup, const ConfigFile& file, int ranks) {
  const TokenFile& tokens = setup.data->tokens;
  ResolveFacts facts;
  facts.world_size = ranks;
  facts.hidden_size = setup.model.config.model.hidden_size;
  facts.imported_model = setup.model.imported;
  facts.preset_learning_rate = setup.model.preset_learning_rate;
  // Rows without an output token are left out by the loader.
  facts.rows = tokens.rows() - (file.run.train_on_prompt ? 0 : tokens.prompt_only_rows());
  return facts;
}

LoaderOptions loader_options_of(const TrainConfig& config, const Runtime& runtime) {
  LoaderOptions options;
  options.global_batch = config.batch.train_batch_size;
  options.micro_batch = config.batch.micro_batch_size;
  options.accumulation = config.batch.accumulation_steps;
  options.rank = runtime.rank();
  options.ranks = runtime.ranks();
  options.seed = config.run.seed;
  options.max_tokens_per_pass = config.run.max_tokens_per_pass;
  options.coalesce = config.run.coalesce;
  options.train_on_prompt = config.run.train_on_prompt;
  return options;
}

void make_loaders(TrainSetup& setup) {
  setup.loader = std::make_unique<Loader>(setup.data->tokens, setup.loader_options);
  if (!setup.eval_data) return;
  LoaderOptions options = setup.loader_options;
  options.shuffle = false;
  setup.eval_loader = std::make_unique<Loader>(setup.eval_data->tokens, options);
}

MemoryPlan make_plan(const TrainSetup& setup, const EngineOptions& options, Runtime& runtime) {
  const std::vector<Pass> passes = largest_step(setup);
  return plan_memory(*setup.table, options, runtime.ops(), runtime.rank(), runtime.ranks(), passes);
}

// "auto": the largest limit whose plan fits; the smallest that holds the longest row when none does.
void choose_pass_limit(TrainSetup& setup, Runtime& runtime) {
  const HostGroup& group = runtime.group();
  LoaderOptions& options = setup.loader_options;
  const bool given = options.max_tokens_per_pass > 0;
  std::int64_t longest = setup.data->tokens.longest_row();
  if (setup.eval_data) longest = std::max(longest, setup.eval_data->tokens.longest_row());
  const std::int64_t alignment = options.pass_alignment;
  const std::int64_t least = (longest + alignment - 1) / alignment * alignment;
  if (!given) options.max_tokens_per_pass = std::max(least, kMostTokensPerPass);
  for (;;) {
    group.together([&] {
      make_loaders(setup);
      setup.plan = make_plan(setup, setup.engine, runtime);
    });
    // All ranks must cut their batches alike.
    const std::int64_t most = group.max(static_cast<std::int64_t>(setup.plan.total_bytes()));
    const bool done = given || !options.coalesce || options.max_tokens_per_pass == least;
    if (done || static_cast<std::size_t>(most) <= setup.free_bytes) return;
    options.max_tokens_per_pass = std::max(least, options.max_tokens_per_pass / 2 / alignment * alignment);
  }
}

void find_model_and_tokenizer(TrainSetup& setup, const RunSection& run) {
  setup.model = find_model(run.model);
  setup.tokenizer = std::make_unique<Tokenizer>(find_tokenizer(run.tokenizer, setup.model));
  setup.notes = fit_model(setup.model, *setup.tokenizer, run.sequence_length);
  setup.table = std::make_unique<ParamTable>(setup.model.config.model);
}

}  // namespace

std::vector<Pass> largest_step(const TrainSetup& setup) {
  // A third pass repeats what the second one allocates.
  const std::int64_t passes = std::min<std::int64_t>(2, setup.loader->max_passes_per_step());
  std::vector<Pass> step(static_cast<std::size_t>(passes), setup.loader->largest_pass());
  if (!setup.eval_loader) return step;
  Pass evaluated = setup.eval_loader->largest_pass();
  if (evaluated.tokens_count() > step.front().tokens_count()) step.push_back(std::move(evaluated));
  return step;
}

TrainSetup prepare_training(const ConfigFile& file, Runtime& runtime) {
  const HostGroup& group = runtime.group();
  TrainSetup setup;
  group.together([&] { find_model_and_tokenizer(setup, file.run); });
  const std::int64_t length = file.run.sequence_length;
  setup.data = std::make_unique<DataSource>(open_data(file.run.data, *setup.tokenizer, length, group));
  if (!file.run.eval_data.empty()) {
    setup.eval_data = std::make_unique<DataSource>(open_data(file.run.eval_data, *setup.tokenizer, length, group));
  }
  setup.free_bytes = runtime.free_bytes();
  group.together([&] {
    setup.config = resolve(file, facts_of(setup, file, runtime.ranks()));
    setup.loader_options = loader_options_of(setup.config, runtime);
    setup.engine = engine_options_of(setup.config);
  });
  choose_pass_limit(setup, runtime);
  return setup;
}

void check_fits(const TrainSetup& setup, Runtime& runtime) {
  if (setup.plan.total_bytes() <= setup.free_bytes) return;
  const std::string trouble = fmt::format("a step needs {} on each rank, but only {} is free for each",
                                          format_bytes(setup.plan.total_bytes()), format_bytes(setup.free_bytes));
  for (int stage = setup.engine.stage + 1; stage <= 3; ++stage) {
    EngineOptions options = setup.engine;
    options.stage = stage;
    if (make_plan(setup, options, runtime).total_bytes() <= setup.free_bytes) {
      fail("{}; it would fit with zero_optimization.stage {}", trouble, stage);
    }
  }
  EngineOptions options = setup.engine;
  options.transformer.checkpointing = ActivationCheckpointing::kFull;
  if (make_plan(setup, options, runtime).total_bytes() <= setup.free_bytes) {
    fail("{}; it would fit with full activation checkpointing", trouble);
  }
  fail("{}; use more ranks with zero_optimization.stage 3, a shorter sequence length or a smaller model", trouble);
}

}  // namespace llama_zero
