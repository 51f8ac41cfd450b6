#include "training_run.h"

#include <algorithm>

#include "core/rng.h"
#include "zero/lr_schedule.h"

namespace llama_zero::test {
namespace {

constexpr int kDocuments = 12;
constexpr int kSteps = 8;
constexpr std::int64_t kMaxPositions = 32;
constexpr std::int64_t kPassMultiple = 16;

std::size_t size_of_int(std::int64_t value) { return static_cast<std::size_t>(value); }

CounterRng document_rng(int step, int document) {
  return {5, static_cast<std::uint64_t>(step * kDocuments + document)};
}

std::int64_t document_length(int step, int document) {
  return 3 + static_cast<std::int64_t>(document_rng(step, document).below(1000, 11));
}

// The first third of a document is its prompt: not counted in the loss.
bool counts(std::int64_t position, std::int64_t length) { return position >= length / 3 && position + 1 < length; }

void append_document(Pass& pass, int step, int document) {
  const CounterRng rng = document_rng(step, document);
  const std::int64_t length = document_length(step, document);
  const auto token = [&](std::int64_t i) {
    return static_cast<std::int32_t>(rng.below(static_cast<std::uint64_t>(i), 509));
  };
  for (std::int64_t i = 0; i < length; ++i) {
    const bool counted = counts(i, length);
    pass.tokens.push_back(token(i));
    pass.targets.push_back(counted ? token(i + 1) : kIgnoreTarget);
    pass.positions.push_back(static_cast<std::int32_t>(i));
    pass.loss_tokens += counted ? 1 : 0;
  }
  pass.cu_seqlens.push_back(static_cast<std::int32_t>(pass.tokens_count()));
  pass.longest = std::max(pass.longest, length);
  pass.rows += 1;
}

void append_padding(Pass& pass) {
  pass.attended_tokens = pass.tokens_count();
  const std::int64_t padded = (pass.tokens_count() + kPassMultiple - 1) / kPassMultiple * kPassMultiple;
  if (padded == pass.attended_tokens) return;
  for (std::int64_t i = pass.attended_tokens; i < padded; ++i) {
    pass.positions.push_back(static_cast<std::int32_t>(i - pass.attended_tokens));
  }
  pass.tokens.resize(size_of_int(padded), 0);
  pass.targets.resize(size_of_int(padded), kIgnoreTarget);
  pass.cu_seqlens.push_back(static_cast<std::int32_t>(padded));
}

std::vector<Pass> passes_of_run(const RunOptions& run, int step, int rank) {
  return (run.weighted ? weighted_passes_of : passes_of)(step, rank, run.ranks, run.passes_per_rank);
}

/// All passes that this rank may see: their peak is that of the worst one (tokens decide the activations, tokens and
/// the longest document the workspace).
std::vector<Pass> all_passes(const RunOptions& run, int rank) {
  std::vector<Pass> all;
  for (int step = 0; step < kSteps; ++step) {
    for (Pass& pass : passes_of_run(run, step, rank)) all.push_back(std::move(pass));
  }
  return all;
}

}  // namespace

LlamaConfig small_llama(bool tied, std::int64_t layers) {
  LlamaConfig config;
  config.vocab_size = 509;
  config.hidden_size = 64;
  config.intermediate_size = 96;
  config.num_hidden_layers = layers;
  config.num_attention_heads = 4;
  config.num_key_value_heads = 2;
  config.head_dim = 16;
  config.max_position_embeddings = kMaxPositions;
  config.tie_word_embeddings = tied;
  return config;
}

std::vector<Pass> passes_of(int step, int rank, int ranks, int passes_per_rank) {
  std::vector<Pass> passes(static_cast<std::size_t>(passes_per_rank));
  for (Pass& pass : passes) pass.cu_seqlens.push_back(0);
  for (int document = rank; document < kDocuments; document += ranks) {
    const int pass = document / ranks % passes_per_rank;
    append_document(passes[static_cast<std::size_t>(pass)], step, document);
  }
  for (Pass& pass : passes) append_padding(pass);
  return passes;
}

std::vector<Pass> weighted_passes_of(int step, int rank, int ranks, int passes_per_rank) {
  std::vector<Pass> passes = passes_of(step, rank, ranks, passes_per_rank);
  for (Pass& pass : passes) {
    for (std::size_t document = 0; document + 1 < pass.cu_seqlens.size(); ++document) {
      pass.loss_weights.resize(static_cast<std::size_t>(pass.cu_seqlens[document + 1]),
                               static_cast<float>(1 + document % 3));
    }
  }
  return passes;
}

std::int64_t loss_tokens_of(int step) {
  std::int64_t tokens = 0;
  for (const Pass& pass : passes_of(step, 0, 1, 1)) tokens += pass.loss_tokens;
  return tokens;
}

std::vector<ScheduleRow> default_schedule() {
  return build_schedule_table(WarmupDecayLr{{1e-3, 5e-3, 2, WarmupType::kLinear}, 10}, {0.9, 0.95}, true, kSteps);
}

EngineOptions engine_options(const RunOptions& run) {
  EngineOptions options;
  options.stage = run.stage;
  options.dtype = run.dtype;
  options.grad_accum_dtype = run.grad_dtype;
  options.averaging = run.averaging;
  options.scaler = run.scaler;
  options.gradient_clipping = 0.5;
  options.optimizer = run.optimizer;
  options.schedule = run.schedule;
  if (run.schedule.empty()) options.schedule = default_schedule();
  options.transformer.logits_chunk = 32;
  options.max_positions = kMaxPositions;
  options.param_persistence_threshold = 1000;
  options.prefetch_bucket_size = 1;
  options.max_reuse_distance = 0;
  options.reduce_bucket_size = 20000;
  if (run.change) run.change(options);
  return options;
}

TestRank::TestRank(const RunOptions& run, const EngineOptions& options, Communicator& communicator, std::int64_t layers)
    : table(small_llama(run.tied, layers)),
      plan(plan_memory(table, options, *make_cpu_ops(1), communicator.rank(), communicator.size(),
                       all_passes(run, communicator.rank()))),
      device(make_cpu_device()),
      ops(make_cpu_ops(1)),
      arena(*device, plan.arena.peak_bytes, "test", Arena::Options{true}),
      workspace(*device, plan.workspace_bytes + Arena::kAlignment, "workspace", Arena::Options{true}),
      engine(table, options, *device, *ops, communicator, arena),
      run_(run),
      rank_(communicator.rank()) {
  ops->set_workspace(workspace.allocate("workspace", DType::kU8, static_cast<std::int64_t>(plan.workspace_bytes)));
  engine.initialise(1234);
  if (rank_ == run.hooked_rank) engine.set_gradient_hook(run.hook);
}

StepResult checked(std::optional<StepResult> result) {
  require(result.has_value(), "no step was waiting for its result");
  require(result->failure.empty(), "{}", result->failure);
  return *result;
}

StepResult TestRank::step(int number) {
  const std::vector<Pass> passes = passes_of_run(run_, number, rank_);
  engine.train_step(passes, static_cast<double>(loss_tokens_of(number)));
  return checked(engine.drain());
}

std::vector<RankRecord> train(const RunOptions& run) {
  std::vector<RankRecord> records(static_cast<std::size_t>(run.ranks));
  run_rank_threads(run.ranks, [&](Communicator& communicator) {
    TestRank rank(run, engine_options(run), communicator);
    RankRecord& record = records[static_cast<std::size_t>(communicator.rank())];
    for (int step = 0; step < run.steps; ++step) {
      const StepResult result = rank.step(step);
      record.losses.push_back(result.loss);
      record.states.push_back(result.state);
    }
    for (int unit = 0; unit < rank.table.unit_count(); ++unit) {
      rank.engine.gather_weights(unit, record.weights.emplace_back());
      rank.engine.gather_master(unit, record.masters.emplace_back());
    }
    record.memory = rank.arena.report();
    record.host = rank.engine.host_memory();
    record.plan = rank.plan;
    record.gathered_peak = rank.engine.gathered_elements_peak();
  });
  return records;
}

namespace {

template <typename T>
std::string compare(const std::string& what, const std::vector<T>& a, const std::vector<T>& b) {
  if (a.size() != b.size()) return fmt::format("{}: {} values against {}", what, a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!(a[i] == b[i])) return fmt::format("{} {}: {:.17g} against {:.17g}", what, i, a[i], b[i]);
  }
  return {};
}

std::vector<double> numbers(const RankRecord& record) {
  std::vector<double> values;
  for (const StepState& state : record.states) {
    if (state.skip == 0) values.push_back(state.grad_norm);  // of an overflow it is NaN or infinity
    for (const double value : {static_cast<double>(state.grad_multiplier), state.lr}) {
      if (state.skip == 0) values.push_back(value);
    }
    values.push_back(static_cast<double>(state.loss_scale));
    values.push_back(static_cast<double>(state.applied_steps));
    values.push_back(static_cast<double>(state.skipped_steps));
  }
  return values;
}

std::string compare_records(const std::string& where, const RankRecord& a, const RankRecord& b) {
  std::string difference = compare(where + "loss of step", a.losses, b.losses);
  if (difference.empty()) difference = compare(where + "state value", numbers(a), numbers(b));
  for (std::size_t unit = 0; difference.empty() && unit < a.weights.size(); ++unit) {
    difference = compare(fmt::format("{}unit {} weight", where, unit), a.weights[unit], b.weights[unit]);
    if (!difference.empty()) break;
    difference = compare(fmt::format("{}unit {} master", where, unit), a.masters[unit], b.masters[unit]);
  }
  return difference;
}

}  // namespace

std::string first_difference(const std::vector<RankRecord>& a, const std::vector<RankRecord>& b) {
  for (std::size_t rank = 0; rank < std::min(a.size(), b.size()); ++rank) {
    std::string difference = compare_records(fmt::format("rank {}: ", rank), a[rank], b[rank]);
    if (!difference.empty()) return difference;
  }
  return {};
}

}  // namespace llama_zero::test
