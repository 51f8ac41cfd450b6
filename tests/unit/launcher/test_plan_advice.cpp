#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "launcher/plan_advice.h"

using namespace llama_zero;

namespace {

PlanCase case_of(int stage, int ranks) {
  PlanCase plan_case;
  plan_case.engine.stage = stage;
  plan_case.engine.transformer.checkpointing = ActivationCheckpointing::kNone;
  plan_case.ranks = ranks;
  plan_case.longest_row = 500;
  plan_case.max_tokens_per_pass = 2048;
  return plan_case;
}

/// States 1000, of which each stage shares a third; 1 for four tokens of a pass, a quarter of it with full
/// checkpointing.
std::size_t toy_bytes(const PlanCase& c) {
  const auto shared = static_cast<std::size_t>(c.engine.stage) * 300;
  std::size_t bytes = 1000 - shared + shared / static_cast<std::size_t>(c.ranks);
  if (c.engine.offload_optimizer.enabled) bytes /= 2;
  const std::size_t activations = static_cast<std::size_t>(c.max_tokens_per_pass) / 4;
  return bytes + (c.engine.transformer.checkpointing == ActivationCheckpointing::kFull ? activations / 4 : activations);
}

std::vector<std::string> changes(const std::vector<AdviceLine>& lines) {
  std::vector<std::string> names;
  for (const AdviceLine& line : lines) names.push_back(line.change);
  return names;
}

}  // namespace

TEST_CASE("of each kind the mildest change that fits is advised, with the bytes it gives") {
  // Now 1000 + 512. Stage 1 on two ranks: 850 + 512; stage 2: 700 + 512 = 1212, the first within 1300.
  const Advice advice = advise(case_of(0, 2), 1300, toy_bytes);
  REQUIRE(advice.alone.size() == 3);
  CHECK(advice.alone[0].change == "zero_optimization.stage 2");
  CHECK(advice.alone[0].bytes == 1212);
  CHECK(advice.alone[0].fits);
  CHECK(advice.alone[1].change == "activation_checkpointing.mode full");
  CHECK(advice.alone[1].bytes == 1128);
  CHECK(advice.alone[2].change == "max_tokens_per_pass 1024");
  CHECK(advice.alone[2].bytes == 1256);
  CHECK(advice.together.empty());
  CHECK(in_a_sentence(advice) == "it would fit with zero_optimization.stage 2 (1.2 KB)");
}

TEST_CASE("passes shrink no further than the longest row, in steps of 256 tokens") {
  const Advice advice = advise(case_of(0, 1), 1, toy_bytes);
  CHECK(changes(advice.alone) ==
        std::vector<std::string>{"activation_checkpointing.mode full", "max_tokens_per_pass 512"});
}

TEST_CASE("when no change alone is enough, changes are put on top of each other") {
  // Stage 3 on two ranks: 550; with full checkpointing 550 + 128 = 678; with passes of 512 tokens 550 + 32 = 582.
  const Advice advice = advise(case_of(0, 2), 600, toy_bytes);
  for (const AdviceLine& line : advice.alone) CHECK_FALSE(line.fits);
  CHECK(changes(advice.together) == std::vector<std::string>{"zero_optimization.stage 3",
                                                             "activation_checkpointing.mode full",
                                                             "max_tokens_per_pass 512"});
  CHECK(advice.together.back().bytes == 582);
  CHECK(
      in_a_sentence(advice) ==
      "it would fit with zero_optimization.stage 3 and activation_checkpointing.mode full and max_tokens_per_pass 512 "
      "(0.6 KB)");
}

TEST_CASE("offload is advised where the device has memory of its own, and needs a stage") {
  PlanCase plan_case = case_of(1, 2);
  CHECK(in_a_sentence(advise(plan_case, 1200, toy_bytes)) == "it would fit with zero_optimization.stage 3 (1.0 KB)");
  plan_case.engine.stage = 3;
  const auto names = [&] { return changes(advise(plan_case, 1, toy_bytes).alone); };
  CHECK(names().size() == 3);
  plan_case.can_offload = true;
  REQUIRE(names().size() == 4);
  CHECK(names()[2] == "offload_optimizer and offload_param.device cpu");
  plan_case.engine.stage = 2;
  CHECK(names()[3] == "offload_optimizer.device cpu");
}

TEST_CASE("more ranks are advised where a stage shares the states") {
  PlanCase plan_case = case_of(3, 2);
  // On 2 ranks 550 + 512; on 4: 325 + 512 = 837; on 8: 212 + 512 = 724.
  const Advice advice = advise(plan_case, 730, toy_bytes);
  CHECK(advice.alone.back().change == "8 ranks at stage 3");
  CHECK(advice.alone.back().bytes == 724);
  plan_case.engine.stage = 0;
  for (const std::string& name : changes(advise(plan_case, 1, toy_bytes).alone)) {
    CHECK(name.find("ranks at") == std::string::npos);
  }
}

TEST_CASE("literal micro-steps shrink by halving the micro batch and doubling the accumulation") {
  PlanCase plan_case = case_of(0, 1);
  plan_case.coalesce = false;
  plan_case.micro_batch = 12;
  plan_case.accumulation = 2;
  const Replay bytes = [](const PlanCase& c) {
    CHECK(c.micro_batch * c.accumulation == 24);
    return static_cast<std::size_t>(c.micro_batch);
  };
  const Advice advice = advise(plan_case, 3, bytes);
  CHECK(advice.alone.back().change == "train_micro_batch_size_per_gpu 3 (accumulation 8)");
  CHECK(advice.alone.back().fits);
}

TEST_CASE("what nothing helps is said") {
  const Advice advice = advise(case_of(0, 2), 1, toy_bytes);
  CHECK_FALSE(advice.together.back().fits);
  CHECK(in_a_sentence(advice).find("a smaller model") != std::string::npos);
}
