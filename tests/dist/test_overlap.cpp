// Streams as threads: the engine's order of events is complete, and with overlap_comm collectives run beside the
// computation. Asserted on the order in which things begin and end; nothing here looks at a clock but to give up.
#include <doctest/doctest.h>

#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <string>

#include "worker_rank.h"

using namespace llama_zero;
using namespace llama_zero::test;

namespace {

constexpr int kRanks = 4;

RunOptions run_of(int stage, int ranks) {
  RunOptions run;
  run.stage = stage;
  run.ranks = ranks;
  run.dtype = run.grad_dtype = DType::kBF16;
  run.steps = 3;
  run.passes_per_rank = 2;
  return run;
}

/// What has happened on a rank, by name; streams may wait for it.
class Diary {
 public:
  void note(const std::string& what) {
    const std::scoped_lock lock(mutex_);
    happened_[what] = true;
    changed_.notify_all();
  }
  bool has(const std::string& what) {
    const std::scoped_lock lock(mutex_);
    return happened_[what];
  }
  /// False when it does not happen: what should be beside the caller comes after it.
  bool wait_for(const std::string& what) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(60), [&] { return happened_[what]; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, bool> happened_;
};

/// Follows one pass of one rank: which unit's collective is which, and notes on the compute stream when the forward and
/// the backward of a unit end.
class Follower final : public StepObserver, public CommObserver {
 public:
  Follower(Diary& diary, bool overlaps) : diary_(diary), overlaps_(overlaps) {}

  int failures() {
    const std::scoped_lock lock(mutex_);
    return failures_;
  }
  int checks() {
    const std::scoped_lock lock(mutex_);
    return checks_;
  }

  void at(StepPoint point, int unit, Stream& compute) override {
    if (point == StepPoint::kPass) forward_ = true;
    if (point == StepPoint::kPassEnd) forward_ = false;
    if (point == StepPoint::kHead) {
      end_of_forward(last_unit_, compute);
      forward_ = false;
    }
    if (point != StepPoint::kUnitForward) return;
    if (unit > 0) end_of_forward(unit - 1, compute);
    last_unit_ = unit;
  }

  void at_commit(int unit, bool committed, Stream& compute) override {
    reducing_ = committed ? -1 : unit;
    if (committed) return;
    // Unit by unit downwards: the reduction of the one above must not have been waited for.
    const std::string above = "reduction " + std::to_string(unit + 1);
    const std::string name = "backward " + std::to_string(unit);
    worker_stream(compute).give([this, above, name, first = last_committed_ < 0] {
      if (!first) check(diary_.has(above + " ended") == !overlaps_);
      diary_.note(name);
    });
    last_committed_ = unit;
  }

  void before(const CommCall& call) override {
    const std::scoped_lock lock(mutex_);
    std::string name;
    if (forward_ && call.op == "all_gather") name = "gather " + std::to_string(gathers_++);
    if (reducing_ >= 0 && call.op == "all_to_all") name = "reduction " + std::to_string(reducing_);
    calls_.push_back(name);
    given_ = name;
  }
  void after(const CommCall& call) override {
    if (call.stream == nullptr || given_.empty()) return;
    worker_stream(*call.stream).give([this, name = given_ + " ended"] { diary_.note(name); });
  }

  /// On the thread of the collectives, before one.
  void collective() {
    std::string name;
    {
      const std::scoped_lock lock(mutex_);
      name = calls_.front();
      calls_.pop_front();
    }
    if (name.empty()) return;
    diary_.note(name);
    // Held until the backward of the unit below is over: only beside it can that be.
    if (overlaps_ && name.starts_with("reduction ") && name != "reduction 0") {
      check(diary_.wait_for("backward " + std::to_string(std::stoi(name.substr(10)) - 1)));
    }
  }

 private:
  void check(bool holds) {
    const std::scoped_lock lock(mutex_);
    checks_ += 1;
    failures_ += holds ? 0 : 1;
  }

  /// By its end the gather of the next unit must have begun, if it is to run beside it.
  void end_of_forward(int unit, Stream& compute) {
    const std::string next = "gather " + std::to_string(unit + 1);
    worker_stream(compute).give([this, next] { check(overlaps_ ? diary_.wait_for(next) : !diary_.has(next)); });
  }

  Diary& diary_;
  bool overlaps_;
  bool forward_ = false;
  int last_unit_ = 0, reducing_ = -1, last_committed_ = -1, gathers_ = 0;
  std::mutex mutex_;
  std::deque<std::string> calls_;
  std::string given_;
  int checks_ = 0, failures_ = 0;
};

}  // namespace

TEST_CASE("on streams that are threads every stage, overlap and offload gives the bits of streams that work at once") {
  for (int stage = 0; stage <= 3; ++stage) {
    for (const bool overlap : {true, false}) {
      for (const bool offload : {false, true}) {
        if (offload && stage < 3) continue;
        RunOptions run = run_of(stage, 3);
        run.change = [&](EngineOptions& options) {
          options.overlap_comm = overlap;
          options.offload_param.enabled = offload;
        };
        INFO("stage " << stage << std::string(overlap ? ", overlap" : "") << std::string(offload ? ", offload" : ""));
        const std::vector<RankRecord> reference = train(run);
        CHECK(first_difference(reference, train_on_workers(run, false)) == "");
        CHECK(first_difference(reference, train_on_workers(run, true)) == "");
      }
    }
  }
}

TEST_CASE(
    "with overlap_comm gathers and reductions run beside the computation of other units, without it they do not") {
  for (const bool overlap : {true, false}) {
    INFO("overlap ", overlap);
    int checks = 0, failures = 0;
    std::mutex mutex;
    run_rank_threads(kRanks, [&](Communicator& communicator) {
      RunOptions run = run_of(3, kRanks);
      run.passes_per_rank = 1;
      EngineOptions options = engine_options(run);
      options.overlap_comm = overlap;
      options.reduce_bucket_size = 1 << 30;
      options.param_persistence_threshold = 0;
      Diary diary;
      Follower follower(diary, overlap);
      bool follows = false;
      const auto network = [&](std::string_view) {
        if (follows) follower.collective();
      };
      WorkerRank rank(run, options, communicator, network, false, 4);
      rank.device->synchronize();
      follows = true;
      rank.communicator->add_observer(follower);
      rank.engine->set_observer(&follower);
      rank.step(0);
      rank.engine->set_observer(nullptr);
      rank.device->synchronize();
      const std::scoped_lock lock(mutex);
      checks += follower.checks();
      failures += follower.failures();
    });
    // Of 6 units: 5 gathers, 5 ends of backwards; with overlap 5 reductions were held.
    CHECK(checks == kRanks * (overlap ? 15 : 10));
    CHECK(failures == 0);
  }
}

namespace {

/// Follows the gathers of the new weights after a step at stage 2, and the beginning of the step after it.
class GatherFollower final : public StepObserver, public CommObserver {
 public:
  GatherFollower(bool overlaps, int units) : overlaps_(overlaps), units_(units) {}

  int checks = 0, failures = 0;  ///< when the streams are idle

  void at(StepPoint point, int unit, Stream& compute) override {
    publishing_ = point == StepPoint::kUpdated;
    if (point == StepPoint::kUnitForward && unit == 1 && step_ == 1) {
      worker_stream(compute).give([this] { diary_.note("forward 0"); });
    }
    if (point == StepPoint::kPublished) step_ += 1;
  }
  void before(const CommCall& call) override {
    const std::scoped_lock lock(mutex_);
    const bool last = publishing_ && step_ == 0 && call.op == "all_gather" && ++gathers_ == units_ + 1;  // losses first
    calls_.push_back(last);
  }
  void after(const CommCall&) override {}

  /// On the thread of the collectives: the last unit's gather is held until the next forward has come past unit 0.
  void collective() {
    bool last = false;
    {
      const std::scoped_lock lock(mutex_);
      last = calls_.front();
      calls_.pop_front();
    }
    if (!last) return;
    checks += 1;
    const bool beside = overlaps_ ? diary_.wait_for("forward 0") : diary_.has("forward 0");
    failures += beside == overlaps_ ? 0 : 1;
  }

 private:
  const bool overlaps_;
  const int units_;
  bool publishing_ = false;
  int step_ = 0, gathers_ = 0;
  std::mutex mutex_;
  std::deque<bool> calls_;
  Diary diary_;
};

}  // namespace

TEST_CASE("with overlap_comm at stages 1 and 2 a forward begins before the last new weights are gathered") {
  for (const int stage : {1, 2}) {
    for (const bool overlap : {true, false}) {
      INFO("stage ", stage, ", overlap ", overlap);
      int checks = 0, failures = 0;
      std::mutex mutex;
      run_rank_threads(2, [&](Communicator& communicator) {
        const RunOptions run = run_of(stage, 2);
        EngineOptions options = engine_options(run);
        options.overlap_comm = overlap;
        bool follows = false;
        GatherFollower follower(overlap, ParamTable(small_llama(run.tied, 2)).unit_count());
        WorkerRank rank(
            run, options, communicator,
            [&](std::string_view) {
              if (follows) follower.collective();
            },
            false);
        rank.device->synchronize();
        follows = true;
        rank.communicator->add_observer(follower);
        rank.engine->set_observer(&follower);
        rank.step(0);
        rank.step(1);
        rank.engine->set_observer(nullptr);
        rank.device->synchronize();
        const std::scoped_lock lock(mutex);
        checks += follower.checks;
        failures += follower.failures;
      });
      CHECK(checks == 2);
      CHECK(failures == 0);
    }
  }
}

TEST_CASE("block inputs that wait on the host give the bits of those that stay, in every checkpointing mode") {
  constexpr std::int64_t kLayers = 5;
  for (const auto mode :
       {ActivationCheckpointing::kNone, ActivationCheckpointing::kSelective, ActivationCheckpointing::kFull}) {
    INFO("mode ", static_cast<int>(mode));
    run_rank_threads(2, [&](Communicator& communicator) {
      const RunOptions run = run_of(3, 2);
      EngineOptions options = engine_options(run);
      options.transformer.checkpointing = mode;
      TestRank reference(run, options, communicator, kLayers);
      options.transformer.cpu_checkpointing = true;
      TestRank at_once(run, options, communicator, kLayers);
      WorkerRank on_threads(run, options, communicator, nullptr, false, kLayers);
      require(at_once.engine.host_memory().peak_bytes == 0, "host memory was taken before a pass came");
      std::vector<float> expected, values;
      for (int step = 0; step < 3; ++step) {
        const double loss = reference.step(step).loss;
        require(at_once.step(step).loss == loss && on_threads.step(step).loss == loss, "another loss in step {}", step);
      }
      for (int unit = 0; unit < reference.table.unit_count(); ++unit) {
        reference.engine.gather_master(unit, expected);
        at_once.engine.gather_master(unit, values);
        require(values == expected, "unit {} differs", unit);
        on_threads.engine->gather_master(unit, values);
        require(values == expected, "unit {} differs on threads", unit);
      }
      const std::size_t on_host = at_once.engine.host_memory().at_peak.at("host activations");
      const auto of = [](const MemoryPlan& plan) { return plan.arena.peak_by_label.at("activations"); };
      require(on_host > 0 && of(at_once.plan) < of(reference.plan), "{} bytes on the host", on_host);
    });
  }
}

TEST_CASE("a collective that fails on its own stream ends the step with its message on every rank") {
  int told = 0;
  std::mutex mutex;
  std::string first;
  try {
    run_rank_threads(2, [&](Communicator& communicator) {
      const RunOptions run = run_of(3, 2);
      int calls = 0;
      const auto network = [&](std::string_view) {
        if (communicator.rank() == 1 && ++calls == 60) fail("the cable is out");
      };
      WorkerRank rank(run, engine_options(run), communicator, network, false);
      try {
        for (int step = 0; step < 20; ++step) rank.step(step % 3);
      } catch (const Error&) {
        const std::scoped_lock lock(mutex);
        told += 1;
        throw;
      }
    });
  } catch (const Error& error) {
    first = error.what();
  }
  CHECK(told == 2);
  CHECK(first.find("the cable is out") != std::string::npos);
}
