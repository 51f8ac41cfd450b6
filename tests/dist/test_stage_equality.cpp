// Stages change where data lies, never a bit of what is computed.
#include <doctest/doctest.h>

#include <cmath>
#include <initializer_list>

#include "training_run.h"

using namespace llama_zero;
using namespace llama_zero::test;

namespace {

RunOptions run_of(DType dtype, int ranks, int stage) {
  RunOptions run;
  run.dtype = dtype;
  run.grad_dtype = dtype;
  run.ranks = ranks;
  run.stage = stage;
  run.scaler.check_overflow = true;
  if (dtype == DType::kF16) {
    run.scaler.dynamic = true;
    run.scaler.initial_scale = 1024.0F;
  }
  return run;
}

/// Whether every unit moved away from its initial weights.
bool every_unit_moved(RunOptions run, const RankRecord& trained) {
  run.steps = 0;
  const RankRecord initial = train(run).front();
  for (std::size_t unit = 0; unit < initial.weights.size(); ++unit) {
    if (initial.weights[unit] == trained.weights[unit]) return false;
  }
  return true;
}

bool clipped_in_every_step(const RankRecord& record) {
  for (const StepState& state : record.states) {
    if (!(state.grad_multiplier < 1.0F / state.used_loss_scale) || !(state.lr > 0.0)) return false;
  }
  return true;
}

}  // namespace

TEST_CASE("stages 0 to 3 train the same weights bit for bit on 1 to 4 ranks in fp32, fp16 and bf16") {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    for (int ranks = 1; ranks <= 4; ++ranks) {
      for (const bool tied : {false, true}) {
        RunOptions run = run_of(dtype, ranks, 0);
        run.tied = tied;
        const std::vector<RankRecord> reference = train(run);
        CHECK(every_unit_moved(run, reference.front()));
        CHECK(clipped_in_every_step(reference.front()));
        CHECK(reference.front().states.back().applied_steps == run.steps);
        for (int stage = 1; stage <= 3; ++stage) {
          run.stage = stage;
          INFO(name_of(dtype) << ", " << ranks << " ranks, stage " << stage << (tied ? ", tied" : ""));
          CHECK(first_difference(reference, train(run)) == "");
        }
      }
    }
  }
}

TEST_CASE("all ranks hold the same weights after training") {
  for (int stage = 0; stage <= 3; ++stage) {
    const std::vector<RankRecord> records = train(run_of(DType::kBF16, 3, stage));
    for (const RankRecord& record : records) CHECK(first_difference({records.front()}, {record}) == "");
  }
}

TEST_CASE("with several passes a step, stages 0 and 1 agree bit for bit and so do 2 and 3") {
  for (const DType grad_dtype : {DType::kBF16, DType::kF32}) {
    for (const bool tied : {false, true}) {
      std::vector<std::vector<RankRecord>> records;
      for (int stage = 0; stage <= 3; ++stage) {
        RunOptions run = run_of(DType::kBF16, 3, stage);
        run.grad_dtype = grad_dtype;
        run.passes_per_rank = 2;
        run.tied = tied;
        records.push_back(train(run));
      }
      INFO(name_of(grad_dtype) << " gradients" << (tied ? ", tied" : ""));
      CHECK(first_difference(records[0], records[1]) == "");
      CHECK(first_difference(records[2], records[3]) == "");
    }
  }
}

TEST_CASE("a step that overflows in fp16 is skipped alike at every stage and the scale falls") {
  constexpr float kScale = 2097152.0F;  // 2^21
  RunOptions run = run_of(DType::kF16, 3, 0);
  run.scaler.initial_scale = kScale;
  run.scaler.hysteresis = 1;
  const std::vector<RankRecord> reference = train(run);
  const StepState& last = reference.front().states.back();
  INFO("skipped " << last.skipped_steps << ", scale " << last.loss_scale);
  CHECK(last.skipped_steps >= 1);
  CHECK(last.applied_steps >= 1);
  CHECK(last.loss_scale == std::ldexp(kScale, -static_cast<int>(last.skipped_steps)));
  for (int stage = 1; stage <= 3; ++stage) {
    run.stage = stage;
    INFO("stage " << stage);
    CHECK(first_difference(reference, train(run)) == "");
  }
}

TEST_CASE("in fp32 the loss of every step is within 1e-5 of one rank's at any rank count") {
  for (const int stage : {0, 3}) {
    const std::vector<double> alone = train(run_of(DType::kF32, 1, stage)).front().losses;
    for (int ranks = 2; ranks <= 4; ++ranks) {
      const std::vector<double> losses = train(run_of(DType::kF32, ranks, stage)).front().losses;
      REQUIRE(losses.size() == alone.size());
      for (std::size_t step = 0; step < losses.size(); ++step) {
        const double error = std::abs(losses[step] / alone[step] - 1.0);
        INFO("stage " << stage << ", " << ranks << " ranks, step " << step << ": relative error " << error);
        CHECK(error < 1e-5);
      }
    }
  }
}

TEST_CASE("the number of passes changes the fp32 loss by rounding only") {
  RunOptions run = run_of(DType::kF32, 2, 2);
  const std::vector<double> one = train(run).front().losses;
  run.passes_per_rank = 3;
  const std::vector<double> three = train(run).front().losses;
  for (std::size_t step = 0; step < one.size(); ++step) {
    const double error = std::abs(three[step] / one[step] - 1.0);
    INFO("step " << step << ": relative error " << error);
    CHECK(error < 1e-5);
  }
}

TEST_CASE("the comparison fails when one rank's gradient of one unit is dropped in one step") {
  for (int stage = 0; stage <= 3; ++stage) {
    RunOptions run = run_of(DType::kF32, 3, stage);
    run.steps = 1;
    const std::vector<RankRecord> whole = train(run);
    run.hooked_rank = 1;
    run.hook = [](int unit, View gradient) {
      if (unit != 2) return;
      for (float& value : gradient.span<float>()) value = 0.0F;
    };
    INFO("stage " << stage);
    CHECK(first_difference(whole, train(run)) != "");
  }
}

TEST_CASE("the comparison fails when a released lease is read") {
  // A source whose user reads each unit after its release.
  class ReadsReleased final : public ParamSource {
   public:
    explicit ReadsReleased(ParamSource& inner) : inner_(inner) {}
    void prefetch(int) override {}
    ConstView acquire(int unit, Stream& stream) override {
      const ConstView weights = inner_.acquire(unit, stream);
      inner_.release(unit, stream);
      return weights;
    }
    void release(int, Stream&) override {}

   private:
    ParamSource& inner_;
  };

  const RunOptions run = run_of(DType::kF32, 2, 3);
  run_rank_threads(2, [&](Communicator& communicator) {
    TestRank rank(run, engine_options(run), communicator);
    const std::vector<Pass> passes = passes_of(0, communicator.rank(), 2, 1);
    const auto stream = rank.device->create_stream("test");
    Arena arena(*rank.device, std::size_t{16} << 20U, "forward", Arena::Options{true});
    Transformer transformer(rank.table, engine_options(run).transformer, 32, *rank.device, *rank.ops, arena);
    const auto loss_with = [&](ParamSource& source) {
      std::vector<RankRecord> record(1);
      const View sum = arena.allocate("loss", DType::kF64, 1);
      rank.ops->fill({sum, 0.0}, *stream);
      transformer.forward_loss(passes.front(), source, sum, *stream);
      record.front().losses.push_back(sum.as<double>()[0]);
      return record;
    };
    ReadsReleased faulty(rank.engine.params());
    const std::vector<RankRecord> right = loss_with(rank.engine.params());
    require(first_difference(right, loss_with(rank.engine.params())).empty(), "two right losses differ");
    require(!first_difference(right, loss_with(faulty)).empty(), "reading released weights went unseen");
  });
}
