#include <algorithm>

#include "launcher/deviations.h"
#include "test_config_support.h"

using namespace llama_zero;
using namespace llama_zero::config_test;

namespace {

std::string all_of(std::string_view text, int ranks) {
  std::string all;
  for (const std::string& clause : deviations(resolve_text(text, ranks), ranks)) all += clause + "\n";
  return all;
}

}  // namespace

TEST_CASE("a deviation from DeepSpeed is stated only where it matters") {
  const std::string fp16 = R"({"fp16": {"enabled": true}, "zero_optimization": {"stage": 0}})";
  CHECK(contains(all_of(fp16, 1), "loss scale doubles"));
  CHECK(contains(all_of(fp16, 1), "stage 0 follows the loss scaler"));
  CHECK(contains(all_of(fp16, 1), "no dummy step"));
  CHECK_FALSE(contains(all_of(fp16, 1), "rank order"));
  CHECK(contains(all_of(fp16, 2), "rank order"));

  const std::string bf16 = R"({"bf16": {"enabled": true}, "zero_optimization": {"stage": 3}})";
  CHECK(contains(all_of(bf16, 1), "not finite"));
  CHECK_FALSE(contains(all_of(bf16, 1), "loss scale"));
  CHECK_FALSE(contains(all_of(bf16, 1), "dummy"));

  CHECK(contains(all_of(R"({"bf16": {"enabled": true}, "data_types": {"grad_accum_dtype": "fp32"}})", 1),
                 "summed in fp32"));
  CHECK(contains(all_of(R"({"optimizer": {"type": "Lion"}})", 1), "Lion leaves a weight alone"));
}

TEST_CASE("the mean of the loss is stated unless it is DeepSpeed's, or there is one row") {
  CHECK(contains(all_of("{}", 1), "every loss token"));
  CHECK_FALSE(contains(all_of(R"({"llama_zero": {"loss_average": "micro_batch"}})", 1), "every loss token"));
  CHECK_FALSE(contains(all_of(R"({"train_batch_size": 1})", 1), "every loss token"));
}

TEST_CASE("a static loss scale never doubles") {
  CHECK_FALSE(contains(all_of(R"({"fp16": {"enabled": true, "loss_scale": 128}})", 1), "doubles"));
}

TEST_CASE("fp32 runs skip steps that are not finite; otherwise one rank differs in nothing") {
  CHECK(all_of(R"({"zero_optimization": {"stage": 1}, "llama_zero": {"loss_average": "micro_batch"}})", 1) ==
        "a step whose gradients are not finite is skipped\n");
}
