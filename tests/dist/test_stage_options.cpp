// Stages agree bit for bit whatever the precision, averaging and weighing of gradients: each pair of options is in some
// case of the table.
#include <doctest/doctest.h>

#include <string>

#include "training_run.h"

using namespace llama_zero;
using namespace llama_zero::test;

namespace {

constexpr DType kF32 = DType::kF32, kF16 = DType::kF16, kBF16 = DType::kBF16;

enum class Division { kAfter, kAround, kBefore, kAfterRounding, kSum };

struct Case {
  DType dtype, grad_dtype;
  std::optional<DType> wire;
  Division division;
  bool weighted;
  int ranks;
};

// Orthogonal enough: every value of one column meets every value of every other.
const Case kCases[] = {
    {kF32, kF32, std::nullopt, Division::kAfter, true, 3},
    {kF32, kF32, kF16, Division::kAround, false, 2},
    {kF32, kF32, kBF16, Division::kBefore, true, 3},
    {kF32, kF32, kF16, Division::kAfterRounding, true, 3},
    {kF32, kF32, kBF16, Division::kSum, false, 2},
    {kF16, kF16, std::nullopt, Division::kBefore, false, 3},
    {kF16, kF32, kF16, Division::kAfter, false, 2},
    {kF16, kF16, kF32, Division::kAfterRounding, false, 2},
    {kF16, kF32, kBF16, Division::kAround, true, 3},
    {kF16, kF16, kF16, Division::kSum, true, 3},
    {kF16, kF32, kF32, Division::kBefore, true, 2},
    {kBF16, kBF16, kF32, Division::kAround, true, 3},
    {kBF16, kF32, std::nullopt, Division::kAfterRounding, true, 2},
    {kBF16, kBF16, kBF16, Division::kAfter, false, 2},
    {kBF16, kF32, kF32, Division::kSum, false, 3},
    {kBF16, kBF16, kF16, Division::kBefore, false, 2},
    {kBF16, kF32, std::nullopt, Division::kAround, false, 2},
    {kBF16, kBF16, std::nullopt, Division::kSum, true, 2},
    {kF32, kF32, kF32, Division::kAfter, true, 2},
    {kBF16, kBF16, kBF16, Division::kAfterRounding, true, 3},
};

GradientAveraging averaging_of(const Case& c) {
  GradientAveraging averaging;
  averaging.wire = c.wire;
  averaging.mean = c.division != Division::kSum;
  averaging.round_sum = c.division == Division::kAfterRounding;
  if (c.division == Division::kAround) averaging.predivide = 2.0;
  if (c.division == Division::kBefore) averaging.predivide.reset();
  return averaging;
}

RunOptions run_of(const Case& c) {
  RunOptions run;
  run.dtype = c.dtype;
  run.grad_dtype = c.grad_dtype;
  run.averaging = averaging_of(c);
  run.weighted = c.weighted;
  run.ranks = c.ranks;
  run.steps = 3;
  run.scaler.check_overflow = true;
  if (c.dtype == kF16) {
    run.scaler.dynamic = true;
    run.scaler.initial_scale = 256.0F;
  }
  return run;
}

}  // namespace

TEST_CASE("stages 0 to 3 agree bit for bit under every pair of precision, wire dtype, division and weights") {
  for (const Case& c : kCases) {
    RunOptions run = run_of(c);
    const std::vector<RankRecord> reference = train(run);
    CHECK(reference.front().states.back().applied_steps == run.steps);
    for (int stage = 1; stage <= 3; ++stage) {
      run.stage = stage;
      INFO(name_of(c.dtype) << " weights, " << name_of(c.grad_dtype) << " gradients, "
                            << (c.wire ? name_of(*c.wire) : "no") << " wire, division " << static_cast<int>(c.division)
                            << ", " << c.ranks << " ranks, stage " << stage << (c.weighted ? ", weighted" : ""));
      CHECK(first_difference(reference, train(run)) == "");
    }
  }
}

TEST_CASE("each option of averaging changes the weights that come out") {
  RunOptions plain = run_of({kBF16, kF32, std::nullopt, Division::kAfter, false, 3});
  const std::vector<RankRecord> reference = train(plain);
  for (const Case& c :
       {Case{kBF16, kF32, kBF16, Division::kAfter, false, 3}, Case{kBF16, kF32, kBF16, Division::kAround, false, 3},
        Case{kBF16, kBF16, std::nullopt, Division::kAfter, false, 3},
        Case{kBF16, kF32, kBF16, Division::kAfterRounding, false, 3},
        Case{kBF16, kF32, std::nullopt, Division::kSum, false, 3},
        Case{kBF16, kF32, std::nullopt, Division::kAfter, true, 3}}) {
    INFO("division " << static_cast<int>(c.division) << (c.weighted ? ", weighted" : ""));
    CHECK(first_difference(reference, train(run_of(c))) != "");
  }
}
