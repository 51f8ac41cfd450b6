// The engine's interface: weights in and out, evaluation, loss scaling, errors.
#include <doctest/doctest.h>

#include <cmath>
#include <string>

#include "training_run.h"
#include "zero/lr_schedule.h"

using namespace llama_zero;
using namespace llama_zero::test;

namespace {

RunOptions run_of(int stage, int ranks, DType dtype = DType::kF32) {
  RunOptions run;
  run.stage = stage;
  run.ranks = ranks;
  run.dtype = dtype;
  run.grad_dtype = dtype;
  return run;
}

Engine::GradientHook infinity_in(int unit, std::int64_t element) {
  return [unit, element](int committed, View gradient) {
    if (committed != unit) return;
    if (gradient.dtype() == DType::kF32) gradient.as<float>()[element] = INFINITY;
    if (gradient.dtype() == DType::kF16) gradient.as<Half>()[element] = Half(INFINITY);
    if (gradient.dtype() == DType::kBF16) gradient.as<BFloat16>()[element] = BFloat16(INFINITY);
  };
}

}  // namespace

TEST_CASE("initial weights are the same at any rank count and stage") {
  RunOptions run = run_of(0, 1);
  run.steps = 0;
  const std::vector<RankRecord> reference = train(run);
  for (const int ranks : {2, 3}) {
    for (int stage = 0; stage <= 3; ++stage) {
      run.ranks = ranks;
      run.stage = stage;
      INFO("stage " << stage << ", " << ranks << " ranks");
      CHECK(first_difference(reference, train(run)) == "");
    }
  }
}

TEST_CASE("loaded weights come back whole, rounded in the model's copy and exact in the master") {
  for (int stage = 0; stage <= 3; ++stage) {
    const RunOptions run = run_of(stage, 3, DType::kBF16);
    run_rank_threads(3, [&](Communicator& communicator) {
      TestRank rank(run, engine_options(run), communicator);
      const auto value = [](int unit, std::int64_t i) {
        return 0.001F * static_cast<float>(i % 997) - static_cast<float>(unit);
      };
      rank.engine.load_weights([&](int unit, std::int64_t begin, std::span<float> out) {
        for (std::size_t i = 0; i < out.size(); ++i) out[i] = value(unit, begin + static_cast<std::int64_t>(i));
      });
      std::vector<float> master, weights;
      for (int unit = 0; unit < rank.table.unit_count(); ++unit) {
        rank.engine.gather_master(unit, master);
        rank.engine.gather_weights(unit, weights);
        const auto numel = static_cast<std::size_t>(rank.table.units()[static_cast<std::size_t>(unit)].numel);
        require(master.size() == numel && weights.size() == numel, "unit {} has {} elements", unit, master.size());
        for (std::size_t i = 0; i < numel; ++i) {
          const float expected = value(unit, static_cast<std::int64_t>(i));
          require(master[i] == expected, "master {} of unit {}", i, unit);
          require(weights[i] == static_cast<float>(BFloat16(expected)), "weight {} of unit {}", i, unit);
        }
      }
      std::vector<float> on_one;
      for (int unit = 0; unit < rank.table.unit_count(); ++unit) {
        const int root = unit % communicator.size();
        on_one.clear();
        rank.engine.gather_master(unit, on_one, root);
        rank.engine.gather_master(unit, master);
        const bool is_root = communicator.rank() == root;
        require(is_root ? on_one == master : on_one.empty(), "unit {} is gathered on rank {} alone", unit, root);
      }
    });
  }
}

TEST_CASE("evaluation gives the loss that training of the same passes reports, and changes nothing") {
  for (const int stage : {0, 3}) {
    RunOptions run = run_of(stage, 2);
    run_rank_threads(2, [&](Communicator& communicator) {
      TestRank rank(run, engine_options(run), communicator);
      const std::vector<Pass> passes = passes_of(0, communicator.rank(), 2, 1);
      const double first = rank.engine.evaluate(passes);
      const double second = rank.engine.evaluate(passes);
      require(first == second, "evaluation moved the loss from {} to {}", first, second);
      const StepResult result = rank.step(0);
      require(result.loss == first / static_cast<double>(loss_tokens_of(0)), "trained {:.17g}, evaluated {:.17g}",
              result.loss, first / static_cast<double>(loss_tokens_of(0)));
      require(std::abs(result.loss - std::log(509.0)) < 0.5, "an untrained model's loss is {}", result.loss);
    });
  }
}

TEST_CASE("NaN or infinity in fp32 or bf16 skips the step, is reported and leaves the weights alone") {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    RunOptions run = run_of(3, 2, dtype);
    run.scaler.check_overflow = true;
    run.steps = 0;
    const std::vector<RankRecord> before = train(run);
    run.steps = 2;
    run.hooked_rank = 1;
    run.hook = infinity_in(1, 77);
    std::vector<RankRecord> after = train(run);
    CHECK(after.front().states.back().skipped_steps == 2);
    CHECK(after.front().states.back().applied_steps == 0);
    CHECK(after.front().states.back().loss_scale == 1.0F);
    for (RankRecord& record : after) {
      record.losses.clear();
      record.states.clear();
    }
    CHECK(first_difference(before, after) == "");
  }
}

TEST_CASE("the dynamic loss scale spends hysteresis, halves, and doubles after its window") {
  RunOptions run = run_of(2, 2, DType::kF16);
  run.scaler = {true, true, false, 64.0F, 1.0F, 2, 2};
  run.hooked_rank = 0;
  int commits = 0;
  run.hook = [&](int unit, View gradient) {  // steps 0 and 1 overflow
    if (unit == 0 && commits++ < 2) gradient.as<Half>()[0] = Half(INFINITY);
  };
  run.steps = 7;
  const std::vector<RankRecord> records = train(run);
  std::vector<float> scales;
  for (const StepState& state : records.front().states) scales.push_back(state.loss_scale);
  // Clean steps count from the one after the last overflow; the scale doubles when 2, 4, ... of them lie behind.
  CHECK(scales == std::vector<float>{64.0F, 32.0F, 32.0F, 32.0F, 64.0F, 64.0F, 128.0F});
  CHECK(records.front().states.back().skipped_steps == 2);
  CHECK(records.front().states.back().applied_steps == 5);
}

TEST_CASE("an overflow at the minimum scale ends the run on every rank, naming the tensor") {
  for (int stage = 0; stage <= 3; ++stage) {
    RunOptions run = run_of(stage, 3, DType::kF16);
    run.scaler = {true, true, false, 1.0F, 1.0F, 1000, 1};
    const ParamTable table(small_llama(false));
    const Param& param = table.find(2, "attention_out");
    run.hooked_rank = 2;
    run.hook = infinity_in(2, param.offset + 5);
    std::string message;
    try {
      train(run);
    } catch (const Error& error) {
      message = error.what();
    }
    INFO("stage " << stage << ": " << message);
    CHECK(message.find("already at its minimum of 1") != std::string::npos);
    CHECK(message.find("(first in " + param.name + ")") != std::string::npos);
  }
}

TEST_CASE("betas of the schedule's row are used by that update") {
  RunOptions run = run_of(1, 2);
  const std::vector<RankRecord> constant = train(run);
  run.schedule = default_schedule();
  CHECK(first_difference(constant, train(run)) == "");
  run.schedule[3].beta1 = 0.5;
  CHECK(first_difference(constant, train(run)) != "");
}

TEST_CASE("a batch without loss tokens changes weights by decay alone and has loss zero") {
  const RunOptions run = run_of(1, 2);
  run_rank_threads(2, [&](Communicator& communicator) {
    TestRank rank(run, engine_options(run), communicator);
    std::vector<Pass> passes = passes_of(0, communicator.rank(), 2, 1);
    for (Pass& pass : passes) {
      pass.targets.assign(pass.targets.size(), kIgnoreTarget);
      pass.loss_tokens = 0;
    }
    rank.engine.train_step(passes, 0.0);
    const StepResult result = checked(rank.engine.drain());
    require(result.loss == 0.0 && result.state.grad_norm == 0.0 && result.state.skip == 0, "loss {}", result.loss);
  });
}

TEST_CASE("impossible options and steps are refused") {
  const auto device = make_cpu_device();
  const auto communicator = make_local_communicator(*device);
  EngineOptions options = engine_options(run_of(0, 1));
  const auto build = [&] { TestRank(run_of(0, 1), options, *communicator); };
  CHECK_NOTHROW(build());
  options.stage = 4;
  CHECK_THROWS_WITH_AS(build(), "engine: ZeRO stage 4 is none of 0, 1, 2, 3", Error);
  options = engine_options(run_of(0, 1));
  options.dtype = DType::kI32;
  CHECK_THROWS_AS(build(), Error);
  options = engine_options(run_of(0, 1));
  options.schedule.clear();
  CHECK_THROWS_AS(build(), Error);
  TestRank rank(run_of(0, 1), engine_options(run_of(0, 1)), *communicator);
  CHECK_THROWS_AS(rank.engine.train_step({}, 1.0), Error);
}
