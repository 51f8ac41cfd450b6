// The host runs one step ahead of the device, and what it learns late has no late consequences.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>

#include "training_run.h"

using namespace llama_zero;
using namespace llama_zero::test;

namespace {

RunOptions run_of(int stage, int ranks, DType dtype) {
  RunOptions run;
  run.stage = stage;
  run.ranks = ranks;
  run.dtype = dtype;
  run.grad_dtype = dtype;
  return run;
}

std::vector<float> all_weights(TestRank& rank) {
  std::vector<float> all, unit_values;
  for (int unit = 0; unit < rank.table.unit_count(); ++unit) {
    rank.engine.gather_master(unit, unit_values);
    all.insert(all.end(), unit_values.begin(), unit_values.end());
  }
  return all;
}

/// Counts how often the host waits for a stream.
class CountingDevice final : public Device {
 public:
  int stream_waits = 0;

  DeviceType type() const override { return cpu_->type(); }
  std::string description() const override { return cpu_->description(); }
  DeviceMemoryInfo memory_info() const override { return cpu_->memory_info(); }
  std::byte* allocate(std::size_t bytes) override { return cpu_->allocate(bytes); }
  void deallocate(std::byte* data, std::size_t bytes) noexcept override { cpu_->deallocate(data, bytes); }
  std::unique_ptr<Stream> create_stream(const std::string&) override { return std::make_unique<Counted>(stream_waits); }
  std::unique_ptr<Event> create_event() override { return cpu_->create_event(); }
  std::unique_ptr<Event> create_timing_event() override { return cpu_->create_timing_event(); }
  void synchronize() override { ++stream_waits; }
  void copy(ConstView source, View destination, Stream& stream) override { cpu_->copy(source, destination, stream); }
  void fill_bytes(View destination, unsigned char value, Stream& stream) override {
    cpu_->fill_bytes(destination, value, stream);
  }

 private:
  class Counted final : public Stream {
   public:
    explicit Counted(int& waits) : waits_(waits) {}
    void synchronize() override { ++waits_; }

   private:
    int& waits_;
  };

  std::unique_ptr<Device> cpu_ = make_cpu_device();
};

}  // namespace

TEST_CASE("results come one step late, and are those of waiting for each step") {
  for (int stage = 0; stage <= 3; ++stage) {
    const RunOptions run = run_of(stage, 2, DType::kBF16);
    const std::vector<RankRecord> waited = train(run);
    run_rank_threads(2, [&](Communicator& communicator) {
      TestRank rank(run, engine_options(run), communicator);
      require(!rank.engine.drain().has_value(), "a result before the first step");
      std::vector<StepResult> results;
      for (int step = 0; step < run.steps; ++step) {
        std::vector<Pass> passes = passes_of(step, communicator.rank(), 2, 1);
        const auto before = rank.engine.train_step(passes, static_cast<double>(loss_tokens_of(step)));
        for (Pass& pass : passes) pass.tokens.assign(pass.tokens.size(), -1);  // the engine has its own copy
        require(before.has_value() == (step > 0), "step {} returned {} results", step, before.has_value() ? 1 : 0);
        if (before) results.push_back(*before);
      }
      results.push_back(checked(rank.engine.drain()));
      require(!rank.engine.drain().has_value(), "the last result came twice");
      const RankRecord& expected = waited[static_cast<std::size_t>(communicator.rank())];
      for (std::size_t step = 0; step < results.size(); ++step) {
        require(results[step].loss == expected.losses[step], "loss of step {}", step);
        require(results[step].state.iteration == static_cast<std::int64_t>(step) + 1, "number of step {}", step);
        require(results[step].state.grad_norm == expected.states[step].grad_norm, "norm of step {}", step);
        require(results[step].seconds > 0.0, "time of step {}", step);
      }
      std::vector<float> weights;
      for (int unit = 0; unit < rank.table.unit_count(); ++unit) {
        rank.engine.gather_weights(unit, weights);
        require(weights == expected.weights[static_cast<std::size_t>(unit)], "weights of unit {}", unit);
      }
    });
  }
}

TEST_CASE("a training step waits for no stream on a communicator that does not") {
  for (int stage = 0; stage <= 3; ++stage) {
    const RunOptions run = run_of(stage, 1, DType::kBF16);
    const EngineOptions options = engine_options(run);
    const ParamTable table(small_llama(false));
    CountingDevice device;
    const auto ops = make_cpu_ops(1);
    const auto communicator = make_local_communicator(device);
    Arena arena(device, std::size_t{64} << 20U, "test");
    const std::vector<Pass> first = passes_of(0, 0, 1, 2);
    const MemoryPlan plan = plan_memory(table, options, *ops, 0, 1, first);
    ops->set_workspace(arena.allocate("workspace", DType::kU8, static_cast<std::int64_t>(plan.workspace_bytes)));
    Engine engine(table, options, device, *ops, *communicator, arena);
    engine.initialise(1);
    const int before = device.stream_waits;
    CHECK(before > 0);  // loading weights waits: the counter counts
    for (int step = 0; step < 4; ++step) {
      engine.train_step(passes_of(step, 0, 1, 2), static_cast<double>(loss_tokens_of(step)));
    }
    checked(engine.drain());
    INFO("stage " << stage);
    CHECK(device.stream_waits == before);
  }
}

TEST_CASE("a step given before the host knew of a failure has no effect") {
  for (int stage = 0; stage <= 3; ++stage) {
    RunOptions run = run_of(stage, 2, DType::kF16);
    run.scaler = {true, true, false, 1.0F, 1.0F, 1000, 1};
    const ParamTable table(small_llama(false));
    const Param& param = table.find(2, "attention_out");
    run_rank_threads(2, [&](Communicator& communicator) {
      TestRank rank(run, engine_options(run), communicator);
      rank.step(0);
      const std::vector<float> weights = all_weights(rank);
      // Step 2 overflows, wherever it runs; step 3 does not, and is given before step 2 is known.
      bool overflows = true;
      const auto give = [&](int step) {
        return rank.engine.train_step(passes_of(step, communicator.rank(), 2, 1),
                                      static_cast<double>(loss_tokens_of(step)));
      };
      rank.engine.set_gradient_hook([&](int unit, View gradient) {
        if (unit == 2 && overflows) gradient.as<Half>()[param.offset + 3] = Half(INFINITY);
      });
      require(!give(1).has_value(), "nothing was to be reported");
      int commits = 0;
      rank.engine.set_gradient_hook([&](int unit, View gradient) {
        commits += unit == 2 ? 1 : 0;
        if (unit == 2 && commits == 2) gradient.as<Half>()[param.offset + 3] = Half(INFINITY);  // step 2, run again
      });
      const std::optional<StepResult> failed = give(2);
      require(failed.has_value() && failed->state.iteration == 2, "step 2 was to be reported");
      require(failed->failure.find("step 2: the loss scale is already at its minimum of 1") == 0, "{}",
              failed->failure);
      require(failed->failure.find("(first in " + param.name + ")") != std::string::npos, "{}", failed->failure);
      require(all_weights(rank) == weights, "weights moved after the last good step");
      require(!rank.engine.drain().has_value(), "the step without effect was reported");
      require(rank.engine.last_state().applied_steps == 1, "{} applied", rank.engine.last_state().applied_steps);
      bool refused = false;
      try {
        give(3);
      } catch (const Error& error) {
        refused = std::string(error.what()).find("no step can follow this") != std::string::npos;
      }
      require(refused, "a step after the failure was taken");
    });
  }
}
