// The mean of micro-batch means, whatever passes the micro-batches run in, against the micro-steps one by one.
#include <doctest/doctest.h>

#include <cmath>

#include "training_run.h"

using namespace llama_zero;
using namespace llama_zero::test;

namespace {

constexpr int kRanks = 2, kMicroSteps = 2;

/// Plain descent: a step of learning rate 1 moves the masters by the negative gradient.
EngineOptions descent(const RunOptions& run) {
  EngineOptions options = engine_options(run);
  options.optimizer = {};
  options.optimizer.kind = OptimizerKind::kSgd;
  options.gradient_clipping = 0.0;
  options.schedule = {ScheduleRow{.lr = 1.0}};
  return options;
}

std::vector<double> masters(TestRank& rank) {
  std::vector<double> all;
  std::vector<float> unit_values;
  for (int unit = 0; unit < rank.table.unit_count(); ++unit) {
    rank.engine.gather_master(unit, unit_values);
    all.insert(all.end(), unit_values.begin(), unit_values.end());
  }
  return all;
}

struct Micro {
  double loss = 0.0;
  std::vector<double> gradient;
};

/// Mean loss and gradient of one micro-batch, alone.
Micro one_micro_step(const Pass& pass) {
  const RunOptions run;
  const auto device = make_cpu_device();
  const auto communicator = make_local_communicator(*device);
  TestRank rank(run, descent(run), *communicator);
  Micro micro;
  micro.gradient = masters(rank);
  rank.engine.train_step(std::span(&pass, 1), static_cast<double>(pass.loss_tokens));
  micro.loss = checked(rank.engine.drain()).loss;
  const std::vector<double> after = masters(rank);
  for (std::size_t i = 0; i < after.size(); ++i) micro.gradient[i] -= after[i];
  return micro;
}

/// The micro-batches of a rank in one pass: document i of it belongs to micro-batch i % kMicroSteps.
Pass coalesced(int rank) {
  const std::vector<Pass> micro = passes_of(0, rank, kRanks, kMicroSteps);
  Pass pass = passes_of(0, rank, kRanks, 1).front();
  for (std::size_t document = 0; document + 1 < pass.cu_seqlens.size(); ++document) {
    const auto tokens = static_cast<float>(micro[document % kMicroSteps].loss_tokens);
    pass.loss_weights.resize(static_cast<std::size_t>(pass.cu_seqlens[document + 1]), 1.0F / tokens);
  }
  return pass;
}

std::vector<Pass> literal(int rank) {
  std::vector<Pass> passes = passes_of(0, rank, kRanks, kMicroSteps);
  for (Pass& pass : passes) pass.loss_weights.assign(pass.tokens.size(), 1.0F / static_cast<float>(pass.loss_tokens));
  return passes;
}

double relative_error(const std::vector<double>& values, const std::vector<double>& expected) {
  double error = 0.0, size = 0.0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    error += (values[i] - expected[i]) * (values[i] - expected[i]);
    size += expected[i] * expected[i];
  }
  return std::sqrt(error / size);
}

}  // namespace

TEST_CASE("the mean of micro-batch means is that of the micro-steps run one by one, coalesced or not") {
  double loss = 0.0;
  std::vector<double> gradient;
  for (int rank = 0; rank < kRanks; ++rank) {
    for (const Pass& pass : passes_of(0, rank, kRanks, kMicroSteps)) {
      const Micro micro = one_micro_step(pass);
      loss += micro.loss / (kRanks * kMicroSteps);
      gradient.resize(micro.gradient.size(), 0.0);
      for (std::size_t i = 0; i < gradient.size(); ++i) gradient[i] += micro.gradient[i] / (kRanks * kMicroSteps);
    }
  }
  for (int stage = 0; stage <= 3; ++stage) {
    for (const bool in_one_pass : {true, false}) {
      RunOptions run;
      run.stage = stage;
      run.ranks = kRanks;
      run.passes_per_rank = in_one_pass ? 1 : kMicroSteps;
      run.weighted = true;  // planned for
      run_rank_threads(kRanks, [&](Communicator& communicator) {
        TestRank rank(run, descent(run), communicator);
        std::vector<double> moved = masters(rank);
        const int index = communicator.rank();
        const std::vector<Pass> passes = in_one_pass ? std::vector<Pass>{coalesced(index)} : literal(index);
        rank.engine.train_step(passes, kRanks * kMicroSteps);
        const StepResult result = checked(rank.engine.drain());
        const std::vector<double> after = masters(rank);
        for (std::size_t i = 0; i < after.size(); ++i) moved[i] -= after[i];
        // fp32: a master of size 0.1 to 1 holds its move to 2^-24 of itself, about 1e-5 of a gradient's typical
        // element.
        const double error = relative_error(moved, gradient);
        require(error < 1e-4, "stage {}, one pass {}: gradients differ by {:.3g}", stage, in_one_pass, error);
        require(std::abs(result.loss / loss - 1.0) < 1e-6, "loss {:.9g}, one by one {:.9g}", result.loss, loss);
      });
    }
  }
}

TEST_CASE("the two means differ when micro-batches have different numbers of loss tokens") {
  run_rank_threads(kRanks, [&](Communicator& communicator) {
    RunOptions run;
    run.ranks = kRanks;
    run.weighted = true;
    TestRank rank(run, descent(run), communicator);
    Pass pass = coalesced(communicator.rank());
    const double weighted = rank.engine.evaluate(std::span(&pass, 1)) / (kRanks * kMicroSteps);
    pass.loss_weights.clear();
    const double plain = rank.engine.evaluate(std::span(&pass, 1)) / static_cast<double>(loss_tokens_of(0));
    require(std::abs(weighted - plain) > 1e-5, "both are {:.9g}", plain);
  });
}
