#include "launcher/train_setup.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "core/error.h"
#include "launcher/engine_options.h"
#include "launcher/plan_advice.h"
#include "launcher/plan_place.h"

namespace llama_zero {
namespace {

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
  options.mean_of_micro_batches = config.run.mean_of_micro_batches;
  return options;
}

void make_loaders(TrainSetup& setup) {
  setup.loader = std::make_unique<Loader>(setup.data->tokens, setup.loader_options);
  if (!setup.eval_data) return;
  LoaderOptions options = setup.loader_options;
  options.shuffle = false;
  options.mean_of_micro_batches = false;  // what is evaluated counts token by token
  setup.eval_loader = std::make_unique<Loader>(setup.eval_data->tokens, options);
}

// A third pass repeats what the second one allocates.
std::vector<Pass> largest_step(const Loader& loader, const Loader* eval_loader) {
  const std::int64_t passes = std::min<std::int64_t>(2, loader.max_passes_per_step());
  std::vector<Pass> step(static_cast<std::size_t>(passes), loader.largest_pass());
  if (eval_loader == nullptr) return step;
  Pass evaluated = eval_loader->largest_pass();
  if (evaluated.tokens_count() > step.front().tokens_count()) step.push_back(std::move(evaluated));
  return step;
}

// What can be changed about the run that stands in `setup`.
PlanCase plan_case_of(const TrainSetup& setup, int ranks) {
  PlanCase plan_case;
  plan_case.engine = setup.engine;
  plan_case.ranks = ranks;
  plan_case.longest_row = setup.data->tokens.longest_row();
  if (setup.eval_data) plan_case.longest_row = std::max(plan_case.longest_row, setup.eval_data->tokens.longest_row());
  plan_case.micro_batch = setup.loader_options.micro_batch;
  plan_case.accumulation = setup.loader_options.accumulation;
  plan_case.coalesce = setup.loader_options.coalesce;
  plan_case.pass_alignment = setup.loader_options.pass_alignment;
  plan_case.max_tokens_per_pass = setup.loader_options.max_tokens_per_pass;
  return plan_case;
}

// Bytes of a step after the change, with the passes that the data gives then.
std::size_t replay(const TrainSetup& setup, const PlanCase& changed, Runtime& runtime) {
  LoaderOptions options = setup.loader_options;
  options.micro_batch = changed.micro_batch;
  options.accumulation = changed.accumulation;
  options.max_tokens_per_pass = changed.max_tokens_per_pass;
  const Loader loader(setup.data->tokens, options);
  std::optional<Loader> eval_loader;
  if (setup.eval_data) eval_loader.emplace(setup.eval_data->tokens, options);
  const std::vector<Pass> passes = largest_step(loader, eval_loader ? &*eval_loader : nullptr);
  return bytes_on_device(
      plan_memory(*setup.table, changed.engine, runtime.ops(), runtime.rank(), changed.ranks, passes),
      runtime.device().type());
}

// "auto": the largest limit whose plan fits; the smallest that holds the longest row when none does.
void choose_pass_limit(TrainSetup& setup, Runtime& runtime) {
  const HostGroup& group = runtime.group();
  LoaderOptions& options = setup.loader_options;
  const bool given = options.max_tokens_per_pass > 0;
  PlanCase plan_case = plan_case_of(setup, runtime.ranks());
  const std::int64_t least = plan_case.least_tokens_per_pass();
  if (!given) options.max_tokens_per_pass = std::max(least, kMostTokensPerPass);
  for (;;) {
    group.together([&] {
      make_loaders(setup);
      setup.plan = plan_with(runtime.ops(), setup, runtime);
    });
    // All ranks must cut their batches alike.
    const std::int64_t most =
        group.max(static_cast<std::int64_t>(bytes_on_device(setup.plan, runtime.device().type())));
    const bool done = given || !options.coalesce || options.max_tokens_per_pass == least;
    if (done || static_cast<std::size_t>(most) <= setup.free_bytes) return;
    plan_case.max_tokens_per_pass = options.max_tokens_per_pass;
    options.max_tokens_per_pass = plan_case.smaller_tokens_per_pass();
  }
}

void find_model_and_tokenizer(TrainSetup& setup, const RunSection& run) {
  setup.model = find_model(run.model);
  setup.tokenizer = std::make_unique<Tokenizer>(find_tokenizer(run.tokenizer, setup.model));
  setup.notes = fit_model(setup.model, *setup.tokenizer, run.sequence_length);
  setup.table = std::make_unique<ParamTable>(setup.model.config.model);
}

}  // namespace

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
    setup.engine.offload_optimizer.threads = runtime.threads();
    const std::string live = live_limit_warning(*setup.table, setup.engine.max_live_parameters);
    if (setup.engine.stage == 3 && !live.empty()) setup.config.warnings.push_back(live);
  });
  choose_pass_limit(setup, runtime);
  return setup;
}

MemoryPlan plan_with(const Ops& sizing, const TrainSetup& setup, const Runtime& runtime) {
  const std::vector<Pass> passes = largest_step(*setup.loader, setup.eval_loader.get());
  return plan_memory(*setup.table, setup.engine, sizing, runtime.rank(), runtime.ranks(), passes);
}

void check_fits(const TrainSetup& setup, Runtime& runtime) {
  // What a host has left at the moment is no limit: some give more when it is used (launcher/preflight.h).
  const bool on_host = runtime.device().type() == DeviceType::kCpu;
  const std::size_t room =
      on_host ? runtime.device().memory_info().total / static_cast<std::size_t>(runtime.ranks_on_host())
              : setup.free_bytes;
  const std::size_t needed = bytes_on_device(setup.plan, runtime.device().type());
  if (needed <= room) return;
  const std::string trouble = fmt::format("a step needs {} on each rank, but only {} is {} for each",
                                          format_bytes(needed), format_bytes(room), on_host ? "there" : "free");
  const PlanCase plan_case = plan_case_of(setup, runtime.ranks());
  const Advice advice =
      advise(plan_case, room, [&](const PlanCase& changed) { return replay(setup, changed, runtime); });
  fail("{}; {}", trouble, in_a_sentence(advice));
}

}  // namespace llama_zero
