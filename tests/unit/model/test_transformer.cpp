// The transformer's dealings with ParamSource and GradSink, and what it refuses.
#include <doctest/doctest.h>

#include "core/error.h"
#include "kernels/planning_ops.h"
#include "tests/support/model_fixture.h"

using namespace llama_zero;
using namespace llama_zero::test;

namespace {

/// Writes down every call and insists that units are held when used.
class WatchedParams final : public ParamSource {
 public:
  explicit WatchedParams(ReplicatedParams& inner) : inner_(inner) {}
  void prefetch(int unit) override { calls.push_back("prefetch " + std::to_string(unit)); }
  ConstView acquire(int unit, Stream& stream) override {
    calls.push_back("acquire " + std::to_string(unit));
    held += 1;
    most_held = std::max(most_held, held);
    if (unit == failing_unit) {
      held -= 1;
      throw Error("no unit");
    }
    return inner_.acquire(unit, stream);
  }
  void release(int unit, Stream& stream) override {
    calls.push_back("release " + std::to_string(unit));
    held -= 1;
    inner_.release(unit, stream);
  }
  std::vector<std::string> only(const std::string& verb) const {
    std::vector<std::string> found;
    for (const std::string& call : calls) {
      if (call.rfind(verb, 0) == 0) found.push_back(call.substr(verb.size() + 1));
    }
    return found;
  }

  std::vector<std::string> calls;
  int held = 0;
  int most_held = 0;
  int failing_unit = -1;

 private:
  ReplicatedParams& inner_;
};

using Units = std::vector<std::string>;

struct Run {
  explicit Run(ModelFixture& fixture)
      : model(fixture.table, fixture.options(), 64, *fixture.device, *fixture.ops, fixture.arena),
        params(fixture.params),
        sink(fixture.table, fixture.dtype) {}
  Transformer model;
  WatchedParams params;
  CatchingSink sink;
  double sum = 0.0;
  View loss() { return View::of(std::span<double>(&sum, 1)); }
};

void refused(Pass pass, const char* words) {
  ModelFixture fixture(small_config());
  Run run(fixture);
  CHECK_THROWS_WITH_AS(run.model.forward_loss(pass, run.params, run.loss(), *fixture.stream), doctest::Contains(words),
                       Error);
}

}  // namespace

TEST_CASE("units are acquired in order, one at a time, with the next one prefetched") {
  ModelFixture fixture(small_config());
  Run run(fixture);
  run.model.forward_backward(make_pass({{6, 5}, 0, 1, 1}, 509), {}, run.params, run.sink, run.loss(), *fixture.stream);
  CHECK(run.params.only("acquire") == Units{"0", "1", "2", "3", "2", "1"});
  CHECK(run.params.only("prefetch") == Units{"1", "2", "3", "2", "1"});
  CHECK(run.params.only("release") == Units{"0", "1", "2", "3", "2", "1"});
  CHECK(run.params.most_held == 1);
  CHECK(run.sink.acquired == std::vector<int>{3, 2, 1, 0});
  CHECK(run.sink.committed == std::vector<int>{3, 2, 1, 0});
}

TEST_CASE("tied embeddings are held with the head and their gradient is committed once, last") {
  ModelFixture fixture(small_config(4, true));
  Run run(fixture);
  run.model.forward_backward(make_pass({{6, 5}, 0, 1, 1}, 509), {}, run.params, run.sink, run.loss(), *fixture.stream);
  CHECK(run.params.only("acquire") == Units{"0", "1", "2", "3", "0", "2", "1"});
  CHECK(run.params.held == 0);
  CHECK(run.params.most_held == 2);
  CHECK(run.sink.acquired == std::vector<int>{3, 0, 2, 1});
  CHECK(run.sink.committed == std::vector<int>{3, 2, 1, 0});
}

TEST_CASE("losses add to what the sum holds") {
  ModelFixture fixture(small_config());
  Run run(fixture);
  const Pass pass = make_pass({{6, 5}, 0, 1, 1}, 509);
  run.model.forward_loss(pass, run.params, run.loss(), *fixture.stream);
  const double once = run.sum;
  CHECK(once > 0.0);
  run.model.forward_loss(pass, run.params, run.loss(), *fixture.stream);
  CHECK(run.sum == 2.0 * once);
}

TEST_CASE("the losses are those of the logits") {
  ModelFixture fixture(small_config(), DType::kF64);
  const Pass pass = make_pass({{6, 5}, 2, 1, 1}, 509);
  const std::vector<double> logits = fixture.forward_logits(pass);
  double expected = 0.0;
  for (std::size_t t = 0; t < pass.tokens.size(); ++t) {
    if (pass.targets[t] == kIgnoreTarget) continue;
    double total = 0.0;
    for (std::size_t v = 0; v < 509; ++v) total += std::exp(logits[t * 509 + v]);
    expected += std::log(total) - logits[t * 509 + static_cast<std::size_t>(pass.targets[t])];
  }
  CHECK(fixture.forward_loss(pass) == doctest::Approx(expected).epsilon(1e-12));
}

TEST_CASE("after a failure in the middle of a pass nothing is held and the next pass works") {
  ModelFixture fixture(small_config());
  Run run(fixture);
  const Pass pass = make_pass({{6, 5}, 0, 1, 1}, 509);
  const std::size_t before = fixture.arena.report().current_bytes;
  run.params.failing_unit = 2;
  CHECK_THROWS_AS(run.model.forward_backward(pass, {}, run.params, run.sink, run.loss(), *fixture.stream), Error);
  CHECK(run.params.held == 0);
  CHECK(fixture.arena.report().current_bytes == before);
  run.params.failing_unit = -1;
  run.model.forward_backward(pass, {}, run.params, run.sink, run.loss(), *fixture.stream);
  CHECK(run.sum == fixture.forward_loss(pass));
}

TEST_CASE("a pass runs on the planner, which finds the arena's true peak") {
  ModelFixture fixture(small_config(2));
  const Pass pass = make_pass({{6, 5}, 5, 1, 1}, 509);
  const auto device = make_null_device();
  const auto stream = device->create_stream("plan");
  PlanningOps ops(*fixture.ops);
  Arena arena(*device, 0, "plan");
  ReplicatedParams params(fixture.table, DType::kF32, arena);
  CatchingSink sink(fixture.table, DType::kF32);
  const View sum = arena.allocate("loss", DType::kF64, 1);
  Transformer planned(fixture.table, fixture.options(), 64, *device, ops, arena);
  planned.forward_backward(pass, {}, params, sink, sum, *stream);
  CHECK(ops.largest_workspace() > 0);

  const std::size_t before = fixture.arena.report().current_bytes;
  CatchingSink real_sink(fixture.table, DType::kF32);
  fixture.forward_backward(pass, real_sink, fixture.options());
  const auto weights = arena.report().at_peak.at("weights") + arena.report().at_peak.at("loss");
  CHECK(arena.report().peak_bytes - weights == fixture.arena.report().peak_bytes - before);
}

TEST_CASE("a pass that cannot be is refused, naming index and value") {
  const Pass good = make_pass({{6, 5}, 3, 1, 1}, 509);
  Pass pass = good;
  pass.tokens[3] = 509;
  refused(pass, "token 509 at index 3 is outside the model's vocabulary of 509");
  pass = good;
  pass.tokens[0] = -1;
  refused(pass, "token -1 at index 0");
  pass = good;
  pass.targets[2] = -5;
  refused(pass, "target -5 at index 2");
  pass = good;
  pass.positions[4] = 64;
  refused(pass, "position 64 at index 4 is outside the 64");
  pass = good;
  pass.cu_seqlens.back() = 13;
  refused(pass, "cu_seqlens must run from 0 to its 14 tokens");
  pass = good;
  pass.cu_seqlens[1] = 0;
  refused(pass, "document 0 has 0 tokens");
  pass = good;
  pass.attended_tokens = 7;
  refused(pass, "attended_tokens 7");
  pass = good;
  pass.longest = 5;
  refused(pass, "more than longest = 5");
  pass = good;
  pass.targets.pop_back();
  refused(pass, "14 tokens but 13 targets");
  refused(Pass{}, "it has no tokens");
}

TEST_CASE("releasing a unit that is not held throws") {
  ModelFixture fixture(small_config());
  CHECK_THROWS_WITH_AS(fixture.params.release(1, *fixture.stream), "unit 'blocks.0' is released but not acquired",
                       Error);
}
