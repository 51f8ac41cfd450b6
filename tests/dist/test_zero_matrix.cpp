// Where data lies, when it moves and what is computed twice never changes a bit: every pair of options of ZeRO, and
// with LLAMA_ZERO_TEST_FULL every combination.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <map>

#include "tests/support/pairwise.h"
#include "training_run.h"

using namespace llama_zero;
using namespace llama_zero::test;

namespace {

constexpr int kSteps = 4;
// Backward of the first steps overflows fp16 at this scale; the scale falls until it does not, which takes some steps
// more.
constexpr int kStepsWithOverflow = 6;
constexpr float kOverflowingScale = 2097152.0F;  // 2^21

enum Axis : std::size_t {
  kStage,
  kRanks,
  kOffload,
  kOverlap,
  kBucket,
  kPrefetch,
  kPasses,
  kLocal,
  kCheckpointing,
  kPrecision,
  kTied,
  kAxes
};

enum Offload { kNothing, kOptimizer, kEverything, kHalf };
enum Precision { kFp32, kBf16, kFp16, kOverflow };

constexpr std::array<std::int64_t, 3> kBuckets = {1, 20000, 500000000};  // a tensor at a time, some, everything
constexpr std::array<std::int64_t, 3> kPrefetches = {0, 1, 1000000000};  // nothing, one unit, everything
constexpr std::array<int, 2> kPassCounts = {1, 3};
constexpr std::array<const char*, 4> kCheckpointings = {"none", "selective", "full", "full, inputs on the host"};
constexpr std::array<const char*, 4> kOffloadNames = {"nothing", "optimizer", "optimizer and parameters", "half"};
constexpr std::array<const char*, 4> kPrecisionNames = {"fp32", "bf16", "fp16", "fp16 that overflows"};

const std::vector<int> kSizes = {4, 4, 4, 2, 3, 3, 2, 2, 4, 4, 2};

struct Case {
  explicit Case(AxisValues v) : values(std::move(v)) {}
  int at(Axis axis) const { return values[axis]; }
  int ranks() const { return at(kRanks) + 1; }
  std::size_t index(Axis axis) const { return static_cast<std::size_t>(at(axis)); }

  std::string describe() const {
    return fmt::format(
        "stage {}, {} ranks, offload {}, overlap {}, bucket {}, prefetch {}, {} passes{}, checkpointing {}, {}{}",
        at(kStage), ranks(), kOffloadNames[index(kOffload)], at(kOverlap) != 0, kBuckets[index(kBucket)],
        kPrefetches[index(kPrefetch)], kPassCounts[index(kPasses)], at(kLocal) != 0 ? " added locally" : "",
        kCheckpointings[index(kCheckpointing)], kPrecisionNames[index(kPrecision)], at(kTied) != 0 ? ", tied" : "");
  }

  AxisValues values;
};

/// What means nothing at a stage keeps its first value.
bool is_legal(const AxisValues& values) {
  const Case c(values);
  if (c.at(kStage) < 3 && c.at(kPrefetch) != 0) return false;
  if (c.at(kStage) == 0 && c.at(kOffload) != kNothing) return false;
  if (c.at(kStage) < 2 && c.at(kLocal) != 0) return false;
  return c.at(kStage) == 3 || c.at(kOffload) != kEverything;
}

RunOptions run_of(const Case& c) {
  RunOptions run;
  run.stage = c.at(kStage);
  run.ranks = c.ranks();
  run.passes_per_rank = kPassCounts[c.index(kPasses)];
  run.steps = c.at(kPrecision) == kOverflow ? kStepsWithOverflow : kSteps;
  run.tied = c.at(kTied) != 0;
  run.dtype = c.at(kPrecision) == kFp32 ? DType::kF32 : c.at(kPrecision) == kBf16 ? DType::kBF16 : DType::kF16;
  run.grad_dtype = run.dtype;
  run.scaler.check_overflow = true;
  if (run.dtype == DType::kF16) {
    run.scaler.dynamic = true;
    run.scaler.hysteresis = 1;
    run.scaler.initial_scale = c.at(kPrecision) == kOverflow ? kOverflowingScale : 1024.0F;
  }
  run.change = [c](EngineOptions& options) {
    options.overlap_comm = c.at(kOverlap) != 0;
    options.reduce_bucket_size = kBuckets[c.index(kBucket)];
    options.prefetch_bucket_size = kPrefetches[c.index(kPrefetch)];
    options.local_gradient_accumulation = c.at(kLocal) != 0;
    options.transformer.checkpointing = static_cast<ActivationCheckpointing>(std::min(2, c.at(kCheckpointing)));
    options.transformer.cpu_checkpointing = c.at(kCheckpointing) == 3;
    options.offload_optimizer.enabled = c.at(kOffload) != kNothing;
    options.offload_optimizer.ratio = c.at(kOffload) == kHalf ? 0.5 : 1.0;
    options.offload_optimizer.threads = 1;
    options.offload_param.enabled = c.at(kOffload) == kEverything;
  };
  return run;
}

/// The plainest run that must give the same bits: stages 0 and 1 add passes before ranks, 2 and 3 ranks before passes
/// unless they accumulate locally.
Case reference_of(const Case& c) {
  Case plain = c;
  const bool ranks_first = c.at(kPasses) > 0 && c.at(kStage) >= 2 && c.at(kLocal) == 0;
  plain.values[kStage] = ranks_first ? 2 : 0;
  plain.values[kOffload] = kNothing;
  plain.values[kOverlap] = 0;
  plain.values[kBucket] = 2;
  plain.values[kPrefetch] = 0;
  plain.values[kLocal] = 0;
  plain.values[kCheckpointing] = static_cast<int>(ActivationCheckpointing::kNone);
  return plain;
}

/// Every applied step clips, and moves every unit's master; a run that overflows skips steps and then applies some.
void check_that_steps_act(const Case& c, const std::vector<RankRecord>& records) {
  const RankRecord& record = records.front();
  RunOptions run = run_of(c);
  const int steps = run.steps;
  run.steps = 0;
  RankRecord before = train(run).front();
  for (run.steps = 1; run.steps <= steps; ++run.steps) {
    RankRecord after = train(run).front();
    const StepState& state = after.states.back();
    INFO("step " << run.steps << " of " << c.describe());
    if (state.skip == 0) CHECK(state.grad_multiplier < 1.0F / state.used_loss_scale);
    for (std::size_t unit = 0; unit < after.masters.size(); ++unit) {
      CHECK((before.masters[unit] == after.masters[unit]) == (state.skip != 0));
    }
    before = std::move(after);
  }
  const StepState& last = record.states.back();
  CHECK(last.applied_steps >= 1);
  CHECK((last.skipped_steps >= 1) == (c.at(kPrecision) == kOverflow));
}

/// One run for all cases that it is the reference of.
class References {
 public:
  const std::vector<RankRecord>& of(const Case& c) {
    const Case plain = reference_of(c);
    const auto known = records_.find(plain.values);
    if (known != records_.end()) return known->second;
    const auto& records = records_.emplace(plain.values, train(run_of(plain))).first->second;
    check_that_steps_act(plain, records);
    return records;
  }

 private:
  std::map<AxisValues, std::vector<RankRecord>> records_;
};

bool full_suite() { return std::getenv("LLAMA_ZERO_TEST_FULL") != nullptr; }

std::vector<AxisValues> at_stage(int stage, const std::vector<AxisValues>& legal) {
  std::vector<AxisValues> cases;
  for (const AxisValues& values : legal) {
    if (values[kStage] == stage) cases.push_back(values);
  }
  return cases;
}

/// A cover of the pairs of each stage.
std::vector<AxisValues> some_cases(const std::vector<AxisValues>& legal) {
  std::vector<AxisValues> cases;
  for (int stage = 0; stage <= 3; ++stage) {
    for (AxisValues& values : pairwise_cover(kSizes, at_stage(stage, legal))) cases.push_back(std::move(values));
  }
  return cases;
}

/// All combinations of the first axes; precision and tying take turns.
std::vector<AxisValues> every_case(const std::vector<AxisValues>& legal) {
  std::vector<AxisValues> cases;
  for (const AxisValues& values : legal) {
    if (values[kPrecision] != 0 || values[kTied] != 0) continue;
    AxisValues turn = values;
    turn[kPrecision] = static_cast<int>(cases.size() % 4);
    turn[kTied] = static_cast<int>(cases.size() / 4 % 2);
    cases.push_back(std::move(turn));
  }
  return cases;
}

}  // namespace

TEST_CASE("a pairwise cover holds every pair of legal values of a stage, in few cases, all of them legal") {
  const std::vector<AxisValues> legal = all_combinations(kSizes, is_legal);
  CHECK(legal.size() > 50'000);
  for (int stage = 0; stage <= 3; ++stage) {
    const std::vector<AxisValues> all = at_stage(stage, legal);
    const std::vector<AxisValues> cover = pairwise_cover(kSizes, all);
    CHECK(pairs_of(kSizes, cover).size() == pairs_of(kSizes, all).size());
    for (const AxisValues& values : cover) CHECK((is_legal(values) && values[kStage] == stage));
    CHECK(cover.size() < 40);
  }
  CHECK(pairs_of(kSizes, some_cases(legal)).size() == pairs_of(kSizes, legal).size());
}

TEST_CASE("stages, ranks, offload, overlap, buckets, prefetch, accumulation and checkpointing never change a bit") {
  const std::vector<AxisValues> legal = all_combinations(kSizes, is_legal);
  References references;
  for (const AxisValues& values : full_suite() ? every_case(legal) : some_cases(legal)) {
    const Case c(values);
    INFO(c.describe());
    const std::vector<RankRecord>& reference = references.of(c);
    CHECK(first_difference(reference, train(run_of(c))) == "");
  }
}
