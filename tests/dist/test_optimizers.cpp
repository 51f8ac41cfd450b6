// Every optimizer through the whole engine: bits do not depend on the stage, memory is what the states need, decay goes
// where it belongs.
#include <doctest/doctest.h>

#include <cmath>

#include "training_run.h"

using namespace llama_zero;
using namespace llama_zero::test;

namespace {

struct Kind {
  const char* name;
  OptimizerOptions options;
  double states;  ///< fp32 numbers kept for each element beside the master
};

std::vector<Kind> kinds() {
  OptimizerOptions o;
  o.weight_decay = 0.1;
  std::vector<Kind> all;
  o.kind = OptimizerKind::kAdamW;
  all.push_back({"AdamW", o, 2});
  o.kind = OptimizerKind::kAdam;
  all.push_back({"Adam", o, 2});
  o.kind = OptimizerKind::kLion;
  all.push_back({"Lion", o, 1});
  o.kind = OptimizerKind::kAdagrad;
  o.eps = 1e-10;
  o.initial_accumulator_value = 0.5;
  all.push_back({"Adagrad", o, 1});
  o.kind = OptimizerKind::kSgd;
  all.push_back({"SGD", o, 0});
  o.momentum = 0.9;
  o.nesterov = true;
  all.push_back({"SGD with momentum", o, 1});
  return all;
}

RunOptions run_of(const OptimizerOptions& options, int stage, int ranks) {
  RunOptions run;
  run.optimizer = options;
  run.dtype = DType::kBF16;
  run.grad_dtype = DType::kBF16;
  run.stage = stage;
  run.ranks = ranks;
  run.steps = 3;
  return run;
}

/// Masters of all units after `steps` batches without a loss token, whose gradients are zero.
std::vector<std::vector<float>> masters_after_decay(const OptimizerOptions& options, int stage, int steps) {
  std::vector<std::vector<float>> masters;
  run_rank_threads(3, [&](Communicator& communicator) {
    RunOptions run = run_of(options, stage, 3);
    run.schedule = {ScheduleRow{.lr = 0.5}};
    TestRank rank(run, engine_options(run), communicator);
    std::vector<Pass> passes = passes_of(0, communicator.rank(), 3, 1);
    for (Pass& pass : passes) {
      pass.targets.assign(pass.targets.size(), kIgnoreTarget);
      pass.loss_tokens = 0;
    }
    for (int step = 0; step < steps; ++step) rank.engine.train_step(passes, 0);
    for (int unit = 0; unit < rank.table.unit_count(); ++unit) {
      std::vector<float> master;
      rank.engine.gather_master(unit, master);
      if (communicator.rank() == 0) masters.push_back(std::move(master));
    }
  });
  return masters;
}

}  // namespace

TEST_CASE("every optimizer trains the same weights bit for bit at stages 0 to 3, with and without exempt norms") {
  for (Kind kind : kinds()) {
    for (const bool exempt : {false, true}) {
      kind.options.exempt_norms_and_embeddings = exempt;
      const std::vector<RankRecord> reference = train(run_of(kind.options, 0, 3));
      for (int stage = 1; stage <= 3; ++stage) {
        INFO(kind.name << ", stage " << stage << (exempt ? ", exempt" : ""));
        CHECK(first_difference(reference, train(run_of(kind.options, stage, 3))) == "");
      }
    }
  }
}

TEST_CASE("no two optimizers train the same weights") {
  std::vector<std::vector<RankRecord>> records;
  for (const Kind& kind : kinds()) records.push_back(train(run_of(kind.options, 1, 2)));
  for (std::size_t i = 0; i < records.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) CHECK(first_difference(records[i], records[j]) != "");
  }
}

TEST_CASE("an optimizer takes the memory of its master and of the states it has, in plan and run") {
  const auto params = static_cast<double>(ParamTable(small_llama(false)).total_numel());
  for (const Kind& kind : kinds()) {
    for (const int stage : {0, 2}) {
      RunOptions run = run_of(kind.options, stage, 2);
      run.steps = 1;
      auto record = train(run).front();
      const double expected = 4.0 * (1.0 + kind.states) * (stage == 0 ? params : params / 2.0);
      const auto bytes = static_cast<double>(record.memory.peak_by_label["optimizer"]);
      INFO(kind.name << ", stage " << stage << ": " << bytes << " bytes, expected " << expected);
      CHECK(std::fabs(bytes / expected - 1.0) < 0.02);  // padding of shards
      CHECK(record.plan.arena.peak_by_label["optimizer"] == record.memory.peak_by_label["optimizer"]);
    }
  }
}

TEST_CASE("norms and embeddings decay unless they are exempted") {
  const ParamTable table(small_llama(false));
  for (const int stage : {0, 3}) {
    OptimizerOptions options;
    options.weight_decay = 0.25;
    const auto before = masters_after_decay(options, stage, 0);
    const auto all = masters_after_decay(options, stage, 1);
    options.exempt_norms_and_embeddings = true;
    const auto some = masters_after_decay(options, stage, 1);
    int exempted = 0;
    for (const Param& param : table.params()) {
      INFO("stage " << stage << ", " << param.name);
      exempted += param.weight_decay ? 0 : 1;
      const auto unit = static_cast<std::size_t>(param.unit);
      bool as_expected = true;
      for (std::int64_t i = param.offset; i < param.offset + param.numel(); ++i) {
        const auto at = static_cast<std::size_t>(i);
        const float old = before[unit][at];
        const float decayed = std::fma(-0.5F, 0.25F * old, old);
        as_expected = as_expected && all[unit][at] == decayed;
        as_expected = as_expected && some[unit][at] == (param.weight_decay ? decayed : old);
      }
      CHECK(as_expected);
    }
    CHECK(exempted == 2 * table.config().num_hidden_layers + 2);  // two norms a block, the last norm, the embedding
  }
}
