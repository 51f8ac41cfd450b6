// Memory is really saved, follows the stage table, and is known in advance.
#include <doctest/doctest.h>

#include <cmath>
#include <initializer_list>

#include "training_run.h"

using namespace llama_zero;
using namespace llama_zero::test;

namespace {

struct Case {
  DType dtype;
  DType grad_dtype;
};

std::size_t sum_of_labels(const MemoryReport& report) {
  std::size_t sum = 0;
  for (const auto& [label, bytes] : report.at_peak) sum += bytes;
  return sum;
}

/// One step of a model with `layers` layers; the record of rank 0.
RankRecord one_step(const RunOptions& run, std::int64_t layers) {
  RankRecord record;
  run_rank_threads(run.ranks, [&](Communicator& communicator) {
    TestRank rank(run, engine_options(run), communicator, layers);
    rank.step(0);
    if (communicator.rank() != 0) return;
    record.memory = rank.arena.report();
    record.gathered_peak = rank.engine.gathered_elements_peak();
  });
  return record;
}

void check_within(const char* what, std::size_t bytes, double expected) {
  const double error = std::abs(static_cast<double>(bytes) / expected - 1.0);
  INFO(what << ": " << bytes << " bytes, expected " << expected << ", relative error " << error);
  CHECK(error < 0.02);
}

}  // namespace

TEST_CASE("bytes of weights, gradients and optimizer a rank follow the stage table within 2 percent") {
  for (const Case types :
       {Case{DType::kF32, DType::kF32}, Case{DType::kBF16, DType::kBF16}, Case{DType::kF16, DType::kF32}}) {
    for (const int ranks : {1, 2, 4}) {
      for (int stage = 0; stage <= 3; ++stage) {
        RunOptions run;
        run.stage = stage;
        run.ranks = ranks;
        run.dtype = types.dtype;
        run.grad_dtype = types.grad_dtype;
        run.steps = 1;
        auto labels = train(run).front().memory.peak_by_label;
        const auto params = static_cast<double>(ParamTable(small_llama(false)).total_numel());
        const auto share = [&](int from_stage) { return stage >= from_stage ? params / ranks : params; };
        INFO("stage " << stage << ", " << ranks << " ranks, " << name_of(types.dtype));
        check_within("weights", labels["weights"], static_cast<double>(size_of(types.dtype)) * share(3));
        check_within("gradients", labels["gradients"], static_cast<double>(size_of(types.grad_dtype)) * share(2));
        check_within("optimizer", labels["optimizer"], (types.dtype == DType::kF32 ? 8.0 : 12.0) * share(1));
      }
    }
  }
}

TEST_CASE("the total of a rank falls from stage 0 to 3, and its labels sum to it") {
  std::size_t previous = 0;
  for (int stage = 0; stage <= 3; ++stage) {
    RunOptions run;
    run.stage = stage;
    run.ranks = 4;
    run.dtype = DType::kF16;
    run.grad_dtype = DType::kF32;
    const MemoryReport memory = one_step(run, 12).memory;
    CHECK(sum_of_labels(memory) == memory.peak_bytes);
    INFO("stage " << stage << ": " << memory.peak_bytes << " bytes, the stage before " << previous);
    if (stage > 0) CHECK(memory.peak_bytes < previous);
    previous = memory.peak_bytes;
  }
}

TEST_CASE("stage 3 never gathers more than the persistent units and two more") {
  for (const bool tied : {false, true}) {
    for (const int ranks : {2, 3, 4}) {
      RunOptions run;
      run.stage = 3;
      run.ranks = ranks;
      run.tied = tied;
      run.steps = 2;
      const ParamTable table(small_llama(tied));
      std::int64_t largest = 0;
      for (const Unit& unit : table.units()) largest = std::max(largest, unit.numel);
      const std::int64_t persistent = tied ? table.units().back().numel : 0;  // the final norm alone
      const std::int64_t peak = train(run).front().gathered_peak;
      INFO((tied ? "tied, " : "untied, ") << ranks << " ranks: " << peak << " elements");
      CHECK(peak <= persistent + 2 * largest);
      CHECK(peak > largest);
    }
  }
}

TEST_CASE("planned memory equals measured memory, label by label") {
  for (int stage = 0; stage <= 3; ++stage) {
    for (const int ranks : {1, 3}) {
      for (const bool tied : {false, true}) {
        RunOptions run;
        run.stage = stage;
        run.ranks = ranks;
        run.tied = tied;
        run.dtype = DType::kBF16;
        run.grad_dtype = DType::kF32;
        run.passes_per_rank = 2;
        run.steps = 8;  // all there are: the largest is among them
        for (const RankRecord& record : train(run)) {
          INFO("stage " << stage << ", " << ranks << " ranks");
          CHECK(record.memory.peak_bytes == record.plan.arena.peak_bytes);
          CHECK(record.memory.at_peak == record.plan.arena.at_peak);
          CHECK(sum_of_labels(record.plan.arena) == record.plan.arena.peak_bytes);
        }
      }
    }
  }
}

TEST_CASE("the memory of Llama-2 7B on 8 ranks is planned without having it") {
  const ParamTable table(preset_config("llama2-7b"));
  const auto params = static_cast<double>(table.total_numel());
  const auto ops = make_cpu_ops(1);
  Pass pass;
  pass.tokens.assign(4096, 1);
  pass.targets.assign(4096, 1);
  for (std::int32_t i = 0; i < 4096; ++i) pass.positions.push_back(i);
  pass.cu_seqlens = {0, 4096};
  pass.attended_tokens = pass.longest = pass.loss_tokens = 4096;
  pass.rows = 1;
  RunOptions run;
  run.dtype = DType::kBF16;
  run.grad_dtype = DType::kBF16;
  std::size_t previous = 0;
  for (int stage = 0; stage <= 3; ++stage) {
    run.stage = stage;
    EngineOptions options = engine_options(run);
    options.max_positions = 4096;
    options.transformer.logits_chunk = 2048;
    options.reduce_bucket_size = 500000000;
    MemoryPlan plan = plan_memory(table, options, *ops, 0, 8, std::span(&pass, 1));
    INFO("stage " << stage << "\n" << format_memory_table(plan.arena));
    check_within("weights", plan.arena.peak_by_label["weights"], 2.0 * params / (stage == 3 ? 8.0 : 1.0));
    check_within("optimizer", plan.arena.peak_by_label["optimizer"], 12.0 * params / (stage >= 1 ? 8.0 : 1.0));
    CHECK(sum_of_labels(plan.arena) == plan.arena.peak_bytes);
    CHECK(plan.total_bytes() >= plan.arena.peak_bytes);
    if (stage > 0) CHECK(plan.arena.peak_bytes < previous);
    previous = plan.arena.peak_bytes;
  }
}
