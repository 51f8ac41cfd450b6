#include <doctest/doctest.h>

#include <algorithm>

#include "tests/golden/golden.h"
#include "zero/communicator.h"
#include "zero/engine.h"

namespace llama_zero::test {
namespace {

/// The run of a fixture: documents taken in turn, `rows` a step.
class Run {
 public:
  explicit Run(const Golden& golden) : run_(golden.json["training"]) {
    for (const std::int64_t length : run_["lengths"]) {
      documents_.push_back(
          golden_document(golden.name + ".train", documents_.size(), length, golden.config.vocab_size));
    }
  }

  std::size_t steps() const { return run_["steps"]; }
  std::size_t rows() const { return run_["micro_batch"].get<std::size_t>() * run_["accumulation"].get<std::size_t>(); }
  double number(const char* key) const { return run_[key]; }
  double result(const char* list, std::size_t step) const { return run_[list][step]; }

  /// Rows of a step dealt out to ranks and passes in order.
  std::vector<Pass> passes(std::size_t step, int rank, int ranks, int passes) const {
    const std::size_t each = rows() / static_cast<std::size_t>(ranks * passes);
    std::vector<Pass> result;
    for (int pass = 0; pass < passes; ++pass) {
      std::vector<TokenIds> rows_of_pass;
      for (std::size_t i = 0; i < each; ++i) {
        const std::size_t row = static_cast<std::size_t>(rank * passes + pass) * each + i;
        rows_of_pass.push_back(documents_[(step * rows() + row) % documents_.size()]);
      }
      result.push_back(pack_documents(rows_of_pass));
    }
    return result;
  }

  double loss_tokens(std::size_t step) const { return static_cast<double>(passes(step, 0, 1, 1).front().loss_tokens); }

  EngineOptions options(int stage) const {
    EngineOptions options;
    options.stage = stage;
    options.gradient_clipping = number("clip");
    options.optimizer.eps = number("eps");
    options.optimizer.weight_decay = number("weight_decay");
    WarmupDecayLr schedule{
        {number("warmup_min_lr"), number("warmup_max_lr"), run_["warmup_num_steps"], WarmupType::kLinear},
        run_["total_num_steps"]};
    options.schedule =
        build_schedule_table(schedule, {run_["betas"][0], run_["betas"][1]}, true, static_cast<std::int64_t>(steps()));
    for (const TokenIds& document : documents_) {
      options.max_positions = std::max(options.max_positions, static_cast<std::int64_t>(document.size()));
    }
    options.param_persistence_threshold = 100;
    options.prefetch_bucket_size = 1;
    return options;
  }

 private:
  nlohmann::json run_;
  std::vector<TokenIds> documents_;
};

struct Shape {
  int stage = 0;
  int passes = 1;  ///< of a rank and step
};

void check_run(const Golden& golden, const Shape& shape, Backend backend, Communicator& communicator) {
  const Run run(golden);
  const ParamTable table(golden.config);
  Arena arena(*backend.device, std::size_t{96} << 20U, "golden");
  backend.ops->set_workspace(arena.allocate("workspace", DType::kU8, std::int64_t{32} << 20U));
  Engine engine(table, run.options(shape.stage), *backend.device, *backend.ops, communicator, arena);
  engine.load_weights(golden_weights(table));
  for (std::size_t step = 0; step < run.steps(); ++step) {
    engine.train_step(run.passes(step, communicator.rank(), communicator.size(), shape.passes), run.loss_tokens(step));
    const std::optional<StepResult> result = engine.drain();
    REQUIRE(result.has_value());
    INFO(backend.name, " ", golden.name, " stage ", shape.stage, " ranks ", communicator.size(), " passes ",
         shape.passes, " step ", step + 1, ": loss ", result->loss, " norm ", result->state.grad_norm);
    CHECK(result->failure.empty());
    CHECK(result->loss == doctest::Approx(run.result("losses", step)).epsilon(1e-5));
    CHECK(static_cast<double>(result->state.grad_norm) ==
          doctest::Approx(run.result("grad_norms", step)).epsilon(1e-4));
    CHECK(static_cast<double>(result->state.lr) == doctest::Approx(run.result("learning_rates", step)).epsilon(1e-6));
  }
}

}  // namespace

TEST_CASE("20 AdamW steps with warm-up, decay, clipping and accumulation follow transformers' losses") {
  int cases = 0;
  for (const std::string& backend : backend_names()) {
    for (const std::string& name : golden_names()) {
      const Golden golden(name);
      if (!golden.json.contains("training")) continue;
      ++cases;
      for (const int passes : {1, 2}) {  // coalesced, and the literal micro-steps
        Backend made = make_backend(backend);
        const auto communicator = make_local_communicator(*made.device);
        check_run(golden, {0, passes}, std::move(made), *communicator);
      }
    }
  }
  CHECK(cases >= 7);
}

TEST_CASE("two ranks at stage 3 follow transformers' losses") {
  for (const char* name : {"gqa", "tied"}) {
    const Golden golden(name);
    run_rank_threads(2, [&](Communicator& communicator) {
      check_run(golden, {3, 1}, make_backend("cpu"), communicator);
    });
  }
}

}  // namespace llama_zero::test
